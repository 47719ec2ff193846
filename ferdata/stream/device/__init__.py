"""Batches on their way to another device."""
