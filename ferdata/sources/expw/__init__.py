"""ExpW: photographs from the web, with a box and a class for each face."""
