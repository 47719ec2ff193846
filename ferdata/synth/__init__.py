"""Synthetic faces: pictures whose expression is really visible, and source trees full of them in the true layouts.

In: a class and a seed, or a source and a count. Out: one picture with its truth, or a folder that any reader of
the real data set reads unchanged. Costs about 3 ms of one core an image at 224 px.
"""

from ferdata.synth.face.face import DrawnFace, draw_face
from ferdata.synth.film import FilmFrame, draw_film
from ferdata.synth.trees.recipes import RECIPES
from ferdata.synth.trees.write import SyntheticSummary, write_synthetic

__all__ = ["RECIPES", "DrawnFace", "FilmFrame", "SyntheticSummary", "draw_face", "draw_film", "write_synthetic"]
