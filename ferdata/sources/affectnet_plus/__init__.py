"""AffectNet+ (AN-plus): one JSON file an image."""
