"""From missing runs to arrays in the queue: what is sealed, written down, and sent; commands, the feeder and the doctor enter."""
