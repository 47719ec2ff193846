"""DFEW: clips of films as frames, with a label a clip and five folds."""
