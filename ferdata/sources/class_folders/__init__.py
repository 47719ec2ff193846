"""Class folders: AffectNet's, RAF-DB's, or a tree with expressions of its own."""
