"""How a run is trained beside its optimizer's hyperparameters: `settings` says it; the spec and trainings enter."""
