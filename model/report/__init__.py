"""What a run shows: figures, pictures, one page."""
