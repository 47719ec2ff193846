"""What is done with finished shards: describe, verify, draw, take out, store otherwise."""
