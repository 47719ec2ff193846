"""Several networks as one, on a data set whose classes may be others: classes meet by name.

In: uint8 images. Out: one probability per class that counts, and the class that is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn import functional

from ferdata.errors import OptionError
from ferdata.labels import map_ids, union_classes
from ferdata.training.load import TrainedNetwork

__all__ = ["NO_CLASS", "ClassMatch", "Ensemble"]

NO_CLASS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMatch:
    """How the classes of a data set and of networks meet.

    Attributes:
        classes: Names; a class's number is its column in all figures.
        labels: For each class of the data set, its column; -1 where no network knows it.
        columns: For each network, for each of its classes, its column; -1 where it does not count.
        unknown: Classes of the data set that no network knows.
        unasked: Classes of the networks that the data set does not have.
    """

    classes: tuple[str, ...]
    labels: tuple[int, ...]
    columns: tuple[tuple[int, ...], ...]
    unknown: tuple[str, ...]
    unasked: tuple[str, ...]

    @classmethod
    def of(cls, data: Sequence[str], networks: Sequence[Sequence[str]], *, all_classes: bool) -> Self:
        """Match by name.

        Args:
            data: Classes of the data set.
            networks: Classes of each network.
            all_classes: Whether classes that the data set does not have count.

        Raises:
            OptionError: If none of the data set's classes is known to a network.

        Example:
            >>> ClassMatch.of(("Happy", "Other"), [("Neutral", "Happy")], all_classes=False).labels
            (0, -1)
        """
        union = union_classes(data, *networks)
        of_data, of_networks = map_ids(data, union), [map_ids(classes, union) for classes in networks]
        known = {number for each in of_networks for number in each}
        asked = known if all_classes else known.intersection(of_data)
        if not known.intersection(of_data):
            raise OptionError(
                f"classes: {', '.join(data)} found in the data set and {', '.join(networks[0])} in the first run, "
                "expected some in common; evaluate on a data set of the same expressions"
            )
        column = {number: place for place, number in enumerate(sorted(asked))}
        return cls(
            classes=tuple(union[number] for number in sorted(asked)),
            labels=tuple(column.get(number, NO_CLASS) for number in of_data),
            columns=tuple(tuple(column.get(number, NO_CLASS) for number in each) for each in of_networks),
            unknown=tuple(union[number] for number in of_data if number not in known),
            unasked=tuple(union[number] for number in sorted(known.difference(of_data))),
        )


class Ensemble:
    """Asks every network, and makes one answer of theirs.

    Args:
        networks: In evaluation mode, on one device.
        match: How their classes meet.
        vote: Choose the class that most networks choose, the likelier of two that are even; else the likeliest.
    """

    def __init__(self, networks: Sequence[TrainedNetwork], match: ClassMatch, *, vote: bool) -> None:
        self._networks, self._vote, self._num_classes = networks, vote, len(match.classes)
        self._kept = [[number for number, place in enumerate(each) if place != NO_CLASS] for each in match.columns]
        self._places = [[place for place in each if place != NO_CLASS] for each in match.columns]

    def __call__(
        self, batches: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Answer for images uint8 ``[N, C, H, W]``, given as each network takes them.

        Returns:
            Mean probabilities float ``[N, classes]``; the class chosen, int64 ``[N]``; what each network chose by
            itself, int64 ``[N, networks]``; and mean valence and arousal float ``[N, 2]`` of those that have a head.
        """
        each: list[torch.Tensor] = []
        feelings: list[torch.Tensor] = []
        num_images = len(batches[0])
        with torch.inference_mode():
            for network, batch, kept, places in zip(self._networks, batches, self._kept, self._places, strict=True):
                answered, *values = network.answers(batch)
                of_network = answered.new_zeros(num_images, self._num_classes)
                of_network[:, places] = answered[:, kept]
                each.append(of_network / of_network.sum(1, keepdim=True).clamp_min(torch.finfo(answered.dtype).tiny))
                feelings += values
            mean = torch.stack(each).mean(0)
            chosen = torch.stack([one.argmax(1) for one in each], 1)
            # a mean is at most 1, so that half of it never outweighs a vote
            votes = functional.one_hot(chosen, self._num_classes).sum(1) + mean / 2 if self._vote else mean
            return mean, votes.argmax(1), chosen, torch.stack(feelings).mean(0) if feelings else None
