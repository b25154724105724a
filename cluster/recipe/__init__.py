"""An image's recipe as a person writes it; whoever builds or seals an image enters."""
