"""The probabilistic preconditioner of de Roos & Hennig (2019) and its variants."""
