"""The official RAF-DB trees, basic and compound: one label list."""
