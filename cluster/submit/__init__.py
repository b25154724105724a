"""Missing runs become arrays in the queue: they are sealed, written down and sent; commands, the feeder and the doctor enter."""
