"""FER2013: faces of 48 x 48 grey pixels, as rows of one text table."""
