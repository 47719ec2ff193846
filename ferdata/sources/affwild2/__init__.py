"""Aff-Wild2: frames of videos, with an expression, or valence and arousal, a line in a text file a video."""
