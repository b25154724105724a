"""What data sets are, byte for byte, and which ones were added; whoever seals, stages or verifies data may enter, a training does not."""
