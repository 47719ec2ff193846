"""AffectNet in YOLO format (AN-yolo)."""
