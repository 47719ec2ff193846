"""Class names of different data sets brought together: one order, by name, and votes shared out again."""

import pytest

from ferdata.errors import OptionError
from ferdata.labels import (
    AFFECTNET_8,
    FER2013,
    RAFDB_BASIC,
    map_ids,
    soft_labels,
    union_classes,
)

RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def test_a_union_has_affectnets_order_and_then_what_comes_first() -> None:
    """Whichever set is named first, the same expression has the same id."""
    assert union_classes(RAFDB_BASIC, AFFECTNET_8) == union_classes(AFFECTNET_8, FER2013) == AFFECTNET_8
    assert union_classes(("b", "Other"), ("happiness", "other", "None", "a")) == ("Happy", "None", "b", "Other", "a")
    assert union_classes() == ()


def test_calm_and_neutral_of_one_set_stay_two() -> None:
    """Calm is an alias of neutral, except in the set that tells them apart."""
    union = union_classes(RAVDESS, ("calm", "joy"))
    assert union == (*AFFECTNET_8[:7], "calm")
    assert map_ids(RAVDESS, union) == [0, 7, 1, 2, 6, 4, 5, 3]
    assert map_ids(("Calm", "joy"), union) == [7, 1] and map_ids(("calm",), AFFECTNET_8) == [0]


def test_votes_are_shared_out_among_the_classes_that_are_left() -> None:
    """Votes for what is dropped do not count, and if all are, there is nothing to say."""
    names = ["neutral", "happiness", "surprise", "unknown"]
    assert soft_labels([1, 2, 1, 6], names, ("Neutral", "Happy", "Sad", "Surprise")) == [0.25, 0.5, 0, 0.25]
    assert soft_labels([0, 0, 0, 10], names, AFFECTNET_8) is None
    with pytest.raises(ValueError, match="zip"):
        soft_labels([1, 2], names, AFFECTNET_8)


def test_a_class_without_a_counterpart_is_named() -> None:
    """Left out in silence, its images would be somebody else's."""
    with pytest.raises(OptionError, match=r"class map: \['Contempt'\] found, expected only names out of"):
        map_ids(AFFECTNET_8, FER2013)
