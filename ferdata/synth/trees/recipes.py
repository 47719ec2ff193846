"""Every layout that can be drawn: a new one is a :class:`Recipe` in the file of its family, whose table stands here."""

from collections.abc import Mapping

from ferdata.synth.trees.affectnet import AFFECTNET_TREES
from ferdata.synth.trees.clips import CLIP_TREES
from ferdata.synth.trees.expw import EXPW_TREES
from ferdata.synth.trees.fer2013 import FER2013_TREES
from ferdata.synth.trees.ferplus import FERPLUS_TREES
from ferdata.synth.trees.named import NAMED_TREES
from ferdata.synth.trees.rafdb import RAFDB_TREES
from ferdata.synth.trees.recipe import Recipe
from ferdata.synth.trees.scenes import SCENE_TREES
from ferdata.synth.trees.table import TABLE_TREES

__all__ = ["RECIPES"]

RECIPES: Mapping[str, Recipe] = {
    **AFFECTNET_TREES, **RAFDB_TREES, **FER2013_TREES, **FERPLUS_TREES, **EXPW_TREES, **NAMED_TREES, **CLIP_TREES,
    **SCENE_TREES, **TABLE_TREES,
}  # fmt: skip
"""Name of a layout -> how to write it. The first of a source is its default."""
