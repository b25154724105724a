"""Command lines and environments of trainings are written here, and images built; every room above may enter."""
