"""How a run is trained beside its optimizer's hyperparameters: `settings` says it, the others do it."""
