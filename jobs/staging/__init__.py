"""A node's scratch: data sets are copied there once, verified, shared and evicted; only the node and the doctor enter."""
