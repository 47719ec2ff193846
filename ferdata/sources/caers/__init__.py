"""CAER-S: frames of television series, as class folders."""
