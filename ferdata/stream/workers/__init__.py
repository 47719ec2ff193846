"""Worker processes, what they are told, and what they do."""
