"""The shared memory that batches are built in."""
