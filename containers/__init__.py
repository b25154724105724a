"""How a run is started, and images built: command lines and environments; every room above may enter."""
