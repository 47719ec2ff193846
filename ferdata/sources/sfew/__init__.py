"""SFEW: frames of films, as class folders of scenes and of aligned faces."""
