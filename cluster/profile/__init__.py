"""A profile says what differs between clusters; it is found, read and written here; rooms that send runs enter."""
