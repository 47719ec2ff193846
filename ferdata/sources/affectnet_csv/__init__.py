"""AffectNet's full release of 2017 (AN-csv): photographs and CSV files."""
