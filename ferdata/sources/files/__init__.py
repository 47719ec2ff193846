"""How files are read, whatever layout they belong to: folders, images, tables as text, and names that match."""
