"""Which images of a source are taken, and into which splits.

In: keyword arguments. Out: a checked :class:`SplitOptions`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from ferdata.errors import OptionError
from ferdata.setting import Setting, check_settings

__all__ = ["SPLITS", "SplitOptions"]

SPLITS = ("train", "val", "test")

_CUT = "Cut a {} split off train: a share (0.1), or so many images of each class (500)."


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """What is asked of the selection of images; steps are taken in the order of the fields.

    Example:
        >>> ferdata.SplitOptions(folds=5, fold=2, group_by="person").fold_split
        'val'
    """

    where: Annotated[
        str | None,
        Setting(
            "Take only images that fulfil a condition on their columns and fields, such as \"angle == 'S'\".",
            "Splits",
            none="all of them",
            metavar="CONDITION",
        ),
    ] = None
    exclude: Annotated[
        str | None,
        Setting(
            "Leave out the images that this table lists by key, path or both, as a csv of audit does.",
            "Splits",
            none="no image",
            metavar="FILE",
        ),
    ] = None
    move_splits: Annotated[
        str | None,
        Setting(
            "Put splits of the source's own into others: test:val, or val:train,test:train. Figures are then not "
            "comparable with published ones.",
            "Splits",
            none="each stays what it is",
            metavar="SPLIT:SPLIT,...",
        ),
    ] = None
    folds: Annotated[
        int | None,
        Setting("Divide train into so many folds, class by class.", "Splits", none="not divided", least=2),
    ] = None
    fold: Annotated[
        int | None,
        Setting(
            "Cut this fold off train, from 1 to --folds; without --folds, read this one of the source's own folds.",
            "Splits",
            none="the first of the source's own",
            least=1,
        ),
    ] = None
    fold_split: Annotated[
        str, Setting("Make the fold that is cut off this split.", "Splits", choices=("val", "test"))
    ] = "val"
    val: Annotated[float | None, Setting(_CUT.format("val"), "Splits", none="none")] = None
    test: Annotated[float | None, Setting(_CUT.format("test"), "Splits", none="none")] = None
    group_by: Annotated[
        str | None,
        Setting(
            "Keep images that belong together in one split, by a column (person), a field (gender) or a pattern in "
            "their path with the group in parentheses.",
            "Splits",
            none="each by itself",
        ),
    ] = None
    balanced: Annotated[
        bool,
        Setting("Take the same number of each class for --val and --test, and of train for --limit.", "Splits"),
    ] = False
    limit: Annotated[
        int | None,
        Setting(
            "Take only so many images of train, each class in its proportion; other splits stay whole.",
            "Splits",
            none="all of them",
            least=1,
        ),
    ] = None
    drop_leaks: Annotated[
        bool, Setting("Leave out train images whose very bytes are in another split too.", "Splits")
    ] = False

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_amounts()
        self._check_folds()
        if self.group_by is not None:
            if self.folds is None and self.val is None and self.test is None:
                raise OptionError(
                    f"group_by: {self.group_by!r} found, but no split is cut, expected val= or test= or folds= with it"
                )
            _check_group_by(self.group_by)
        if self.balanced and self.val is None and self.test is None and self.limit is None:
            raise OptionError(
                "balanced: asked for, but nothing is drawn that it could balance, "
                "expected val=, test= or limit= with it; leave balanced= out"
            )
        self.moves()

    @property
    def official_fold(self) -> int | None:
        """The fold of the source's own that is read."""
        return self.fold if self.folds is None else None

    def moves(self) -> Mapping[str, str]:
        """Return split of the source -> the split that its images are put into.

        Raises:
            OptionError: If ``move_splits`` is no list of such pairs.
        """
        pairs = [] if self.move_splits is None else [pair.split(":") for pair in self.move_splits.split(",")]
        if any(len(pair) != 2 or pair[0] == pair[1] or pair[1] not in SPLITS for pair in pairs) or len(
            {pair[0] for pair in pairs}
        ) < len(pairs):
            raise OptionError(
                f"move_splits: {self.move_splits!r} found, expected pairs of a split of the source and train, val or "
                "test, each split once, such as 'val:train' or 'test:val'"
            )
        return dict(pairs)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as they stand in an index, but for ``exclude``, of which the entries count."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "exclude"}
        return found if self.folds is not None else found | {"fold_split": None}

    def _check_amounts(self) -> None:
        for name in ("val", "test"):
            amount = getattr(self, name)
            if amount is not None and not (0 < amount < 1 or (amount >= 1 and amount == amount // 1)):
                raise OptionError(
                    f"{name}: {amount:g} found, "
                    "expected a share of train below 1 (0.1), or how many images of each class (500)"
                )
        if sum(amount for amount in (self.val, self.test) if amount is not None and amount < 1) >= 1:
            raise OptionError(
                f"val and test: {self.val:g} and {self.test:g} of train found, expected some of it to be left; "
                "use smaller shares"
            )

    def _check_folds(self) -> None:
        if self.folds is None:
            if self.fold_split != "val":
                raise OptionError(
                    f"fold_split: {self.fold_split} found, but train is not divided, expected folds= with it; "
                    "leave fold_split= out"
                )
            return
        if self.fold is None or self.fold > self.folds:
            found = "none" if self.fold is None else f"{self.fold}"
            raise OptionError(f"fold: {found} found, expected which of the {self.folds} folds to cut off, from 1")
        if getattr(self, self.fold_split) is not None:
            other = next(name for name in ("val", "test") if name != self.fold_split)
            raise OptionError(
                f"{self.fold_split}: {getattr(self, self.fold_split):g} found, but the fold is the {self.fold_split} "
                f"split already; leave {self.fold_split}= out, or make the fold another by fold_split={other}"
            )


def _check_group_by(by: str) -> None:
    """See that a pattern is one: what has parentheses is a regular expression, anything else the name of a field.

    Raises:
        OptionError: If it is none.
    """
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise OptionError(
            f"group_by: {by!r} is no regular expression ({error}), expected one such as 'person([0-9]+)'"
        ) from error
    if "(" in by and not pattern.groups:
        raise OptionError(
            f"group_by: {by!r} found, expected parentheses around the part of the path that names the group, "
            "as in 'person([0-9]+)'"
        )
