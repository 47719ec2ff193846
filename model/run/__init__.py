"""A run on disk and while it runs: folder, checkpoint, state, progress."""
