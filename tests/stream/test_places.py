"""Where the samples of a class are, and weighted draws of which any part is computed alone."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ferdata.stream.order.places import ClassPlaces
from ferdata.stream.order.weights import WeightedDraws

labels_of_samples = st.lists(st.integers(0, 3), min_size=1, max_size=1000)


@given(labels=labels_of_samples, numbers=st.lists(st.integers(0, 999)))
def test_the_samples_of_a_class_are_found_by_their_numbers(labels: list[int], numbers: list[int]) -> None:
    """Against the list that is not kept."""
    places = ClassPlaces(np.array(labels, np.int8), 4)
    for label in range(4):
        own = np.flatnonzero(np.array(labels) == label)
        wanted = np.array([number for number in numbers if number < len(own)], np.int64)
        assert places.counts[label] == len(own) and places.find(label, wanted).tolist() == own[wanted].tolist()


@settings(max_examples=60)
@given(
    labels=labels_of_samples,
    shuffle=st.sampled_from(["window", "full"]),
    raw_weights=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    draws=st.integers(1, 400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_any_part_of_weighted_draws_is_that_of_the_whole(
    labels: list[int], shuffle: str, raw_weights: list[int], draws: int, cuts: list[int]
) -> None:
    """A rank computes its own windows alone: what others would have computed must fit them to the sample."""
    places = ClassPlaces(np.array(labels), 4)
    weights = np.where(places.counts > 0, np.add(raw_weights, 0.5), 0)
    options = {"shuffle": shuffle, "run_samples": 3, "seed": 1, "epoch": 2}
    drawn = WeightedDraws(places, weights / weights.sum(), draws, **options)
    bounds = [0, *sorted(min(cut, draws) for cut in cuts), draws]

    parts = [drawn.part(start, stop) for start, stop in pairwise(bounds)]

    assert np.concatenate(parts).tolist() == drawn.part(0, draws).tolist()
