"""What lies behind a URL, fetched ahead of those who decode it: in large pieces, many at a time."""
