"""What AffectNet's releases share: values, and split folders with a file of labels an image."""
