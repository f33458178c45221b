"""One training run: the loop, its optimiser, checkpoints and run directory."""
