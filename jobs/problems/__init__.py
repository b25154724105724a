"""The test problems: what is trained, on what data, from which initial weights."""
