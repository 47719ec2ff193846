"""Images that come from Python: kept on the disk, as files with a table, while a data set is made of them."""
