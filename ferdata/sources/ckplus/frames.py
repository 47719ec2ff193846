"""What CK+ calls its people, sequences and frames. In: a name. Out: a match."""

import re

__all__ = ["FRAME_NAME", "SUBJECT"]

SUBJECT = re.compile(r"S\d{3}", re.IGNORECASE)
FRAME_NAME = re.compile(r"(S\d{3})_(\d{3})_(\d{8})", re.IGNORECASE)
"""Stem of an image: person, sequence of this person, and frame."""
