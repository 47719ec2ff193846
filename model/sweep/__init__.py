"""Many runs of the trainer, compared: grids and searches over its settings."""
