"""Any images with a table of what they show: csv, tsv or parquet."""
