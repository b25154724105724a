"""What differs between clusters: a person's profile, found, read and written; whoever sends runs enters."""
