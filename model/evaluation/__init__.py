"""Trained networks measured on any data set."""
