"""What networks say of pictures that are in no data set: images, folders of them, and videos."""
