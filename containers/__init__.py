"""How a run is started: its command line and its environment."""
