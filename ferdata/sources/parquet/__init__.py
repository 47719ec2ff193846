"""Parquet files with the columns ``image`` and ``label``."""
