"""What this machine can do: measured, predicted, and turned into advice."""
