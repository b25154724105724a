"""An image's recipe is read here, as a person writes it; rooms that build or seal an image enter."""
