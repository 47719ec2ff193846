"""The items a run writes, as its options ask, step by step in the order of :class:`SplitOptions`.

In: a scan and options. Out: a :class:`Selection` and what was skipped by which rule. Reads files only to find leaks.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow.compute as pc

from ferdata.errors import OptionError
from ferdata.ingest.options import IngestOptions
from ferdata.ingest.select.exclude import Exclusions
from ferdata.ingest.select.fields import ItemFields
from ferdata.ingest.select.folds import assign_folds
from ferdata.ingest.select.leaks import find_train_copies
from ferdata.ingest.select.selection import LEFT_OUT, Selection, choose_limit, cut_split, leave_out, level, move
from ferdata.sources.scan import Scan

__all__ = ["choose_items"]


def choose_items(
    scan: Scan, options: IngestOptions, *, excluded: Exclusions | None = None, on_tick: Callable[[int, int], None]
) -> tuple[Selection, dict[str, int], list[str]]:
    """Return the split of every item, rule -> items left out by it (``limit``, ``leak`` ...), and notes on the splits.

    The limit comes after every split is cut, so that trainings on more and more of train share their val and test.
    Leaks come last, so that no file is read that is not used.

    Args:
        scan: The scan.
        options: What to do.
        excluded: What ``options.splits.exclude`` lists.
        on_tick: Called with (files read, files to read) while leaks are looked for.

    Raises:
        OptionError: If a split that was asked for is there already, or cannot be cut.
    """
    choice = _Choice(scan, options)
    if not len(scan.items):
        return choice.selection, {}, []
    if options.splits.where is not None or excluded is not None:
        choice.filter(excluded)
    choice.move_splits()
    choice.cut()
    if options.splits.limit is not None:
        choice.limit(options.splits.limit)
    if options.splits.drop_leaks:
        copies = find_train_copies(
            scan.items, choice.selection, root=scan.root, num_workers=options.resolved_workers(), on_tick=on_tick
        )
        choice.skip("leak", copies)
    return choice.selection, dict(+choice.skipped), choice.notes


class _Choice:
    """A selection while options are applied to it, one method an option.

    Attributes:
        selection: As it is so far.
        skipped: Rule -> items left out by it.
        notes: Sentences for the user.
    """

    def __init__(self, scan: Scan, options: IngestOptions) -> None:
        self._scan, self._asked, self._seed = scan, options.splits, options.seed
        self._fields = ItemFields(scan.items)
        encoded = pc.dictionary_encode(scan.items.table.column("split").cast("string")).combine_chunks()
        has_items = len(scan.items) > 0
        splits = tuple(encoded.dictionary.to_pylist()) if has_items else ()
        codes = encoded.indices.to_numpy().astype(np.int8) if has_items else np.zeros(0, np.int8)
        self.selection = Selection(splits=splits, codes=codes, labels=scan.items.labels())
        self.skipped = Counter[str]()
        self.notes: list[str] = []

    def skip(self, rule: str, positions: np.ndarray) -> None:
        """Leave items out by a rule; those that an earlier rule left out stay with it."""
        selection = leave_out(self.selection, positions)
        self.skipped[rule] += int((selection.codes != self.selection.codes).sum())
        self.selection = selection

    def filter(self, excluded: Exclusions | None) -> None:
        """Leave out what does not fulfil the condition, and what the table lists."""
        before = {name: len(self.selection.positions(name)) for name in self.selection.splits}
        if (where := self._asked.where) is not None:
            found = self._fields.matching(where, self._scan.classes)
            if not len(found):
                raise OptionError(
                    f"where: {where!r} leaves none of the {len(self._scan.items):,} images of {self._scan.root}, "
                    "expected some"
                )
            self.skip("where", np.setdiff1d(np.arange(len(self._scan.items)), found))
        if excluded is not None:
            positions, unused = excluded.find(self._scan.items)
            self.skip("excluded", positions)
            if unused:
                self.notes.append(
                    f"Warning: {len(unused):,} of {len(excluded.entries):,} images to exclude in {excluded.name} are "
                    f"not in the source, such as {unused[0]}."
                )
        for name, count in before.items():
            left = len(self.selection.positions(name))
            if name != "train" and left < count:
                self.notes.append(
                    f"Warning: {name} has {left:,} of the {count:,} images that came with the source; "
                    "figures on it are not comparable with published ones."
                )

    def move_splits(self) -> None:
        """Put splits of the source's own into others, all at once."""
        moves = {name: (into, self._positions(name)) for name, into in self._asked.moves().items()}
        for name, (into, positions) in moves.items():
            if not len(positions):
                present = ", ".join(self.selection.ordered_splits())
                raise OptionError(
                    f"move_splits: {name}:{into} found, but {self._scan.root} has {present} and no {name} split, "
                    "expected one to move; leave it out"
                )
            self.selection = move(self.selection, positions, into)
            self.notes.append(
                f"Warning: the source's own {name} split ({len(positions):,} images) is put into {into}, as "
                "move_splits asks: figures are not comparable with those on its own splits."
            )

    def cut(self) -> None:
        """Cut a fold, a test and a val split off train."""
        asked = self._asked
        wanted = {name: amount for name, amount in (("test", asked.test), ("val", asked.val)) if amount is not None}
        by = {asked.fold_split: "folds"} if asked.folds is not None else {}
        by |= {name: name for name in wanted}
        if not by:
            return
        present = self.selection.ordered_splits()
        for name, option in by.items():
            if name in present:
                self._refuse_to_break_up(name, option, present)
        if "train" not in present:
            raise OptionError(
                f"{', '.join(by.values())}: {self._scan.root} holds {present}, expected a train split to cut from; "
                "leave it out"
            )
        groups = None if asked.group_by is None else self._fields.groups(asked.group_by, self._used())
        if asked.folds is not None:
            self._cut_fold(asked.folds, groups)
        train = self._positions("train")
        for name, amount in wanted.items():
            self._cut_amount(name, amount, train, groups)
        if groups is not None:
            self._note_shared(present, groups)

    def limit(self, limit: int) -> None:
        """Leave train images out until it has so many."""
        counts = np.bincount(self.selection.labels[self._positions("train")])
        counts = counts[counts > 0]
        if not len(counts):
            raise OptionError(
                f"limit: {limit:,} images of train asked for, but {self._scan.root} has "
                f"{', '.join(self.selection.ordered_splits())}, expected a train split; leave limit= out"
            )
        if self._asked.balanced and not 1 <= limit // len(counts) <= counts.min():
            raise OptionError(
                f"limit: a balanced {limit:,} found, expected {len(counts):,} to {len(counts) * counts.min():,}, "
                f"since train has {counts.min():,} images of its rarest class; use another number, or leave "
                "balanced= out"
            )
        if limit < counts.sum() or self._asked.balanced:
            kept = choose_limit(self.selection, limit, self._seed, is_balanced=self._asked.balanced)
            self.skip("limit", np.flatnonzero(kept.codes != self.selection.codes))

    def _used(self) -> np.ndarray:
        return np.flatnonzero(self.selection.codes != LEFT_OUT)

    def _positions(self, split: str) -> np.ndarray:
        return self.selection.positions(split) if split in self.selection.splits else np.zeros(0, np.int64)

    def _refuse_to_break_up(self, name: str, option: str, present: list[str]) -> None:
        free = next((other for other in ("val", "test") if other not in present), None)
        instead = "" if free is None else f", or cut {free}= instead"
        if option == "folds":
            instead = "" if free is None else f", or make the fold another by fold_split={free}"
        raise OptionError(
            f"{option}: a {name} split found in {self._scan.root} already, expected none, since it is not broken up; "
            f"leave {option}= out{instead}, or give it up by move_splits='{name}:train', which the data set tells"
        )

    def _cut_fold(self, folds: int, groups: np.ndarray | None) -> None:
        asked, train = self._asked, self._positions("train")
        num_units = len(train) if groups is None else len(np.unique(groups[train]))
        if num_units < folds:
            units = "images" if groups is None else f"groups by {asked.group_by}"
            raise OptionError(f"folds: {folds:,} found, but train has {num_units:,} {units}, expected no fewer")
        chosen = assign_folds(
            self.selection.labels[train], folds, self._seed, groups=None if groups is None else groups[train]
        )
        self.selection = move(self.selection, train[chosen + 1 == asked.fold], asked.fold_split)
        self._note_cut(asked.fold_split, train, groups, f"fold {asked.fold} of {folds}, ")

    def _cut_amount(self, name: str, amount: float, train: np.ndarray, groups: np.ndarray | None) -> None:
        left = self._positions("train")
        counts = np.bincount(self.selection.labels[left], minlength=len(self._scan.classes))
        number = amount
        if self._asked.balanced and amount < 1:
            number = round(amount * len(train)) // max(1, (counts > 0).sum())
        short = [
            f"{found:,} of {label}"
            for label, found in zip(self._scan.classes, counts, strict=True)
            if 0 < found <= number and number >= 1
        ]
        if short:
            raise OptionError(
                f"{name}: {', '.join(short)} left in train, "
                f"expected more than the {number:,.0f} of each class to cut off; "
                "use a smaller number, or a share such as 0.1"
            )
        if number:
            self.selection = cut_split(self.selection, name, number, self._seed, train_size=len(train), groups=groups)
        if self._asked.balanced and groups is not None:
            found = np.bincount(self.selection.labels[self._positions(name)], minlength=len(counts))
            if lacking := [self._scan.classes[label] for label in np.flatnonzero((counts > 0) & (found == 0))]:
                raise OptionError(
                    f"{name}: whole groups by {self._asked.group_by} give none of {', '.join(lacking)}, "
                    "expected the same number of each class; use a larger share, or leave balanced= out"
                )
            even = level(self.selection, name, self._seed)
            self.skip("balance", np.flatnonzero(even.codes != self.selection.codes))
        if not len(self._positions(name)):
            whole = "no group is small enough" if groups is not None else "every class keeps one in train"
            raise OptionError(
                f"{name}: {amount:g} of {len(train):,} train images gives none ({whole}), expected some; "
                "use a larger share"
            )
        if groups is not None:
            self._note_cut(name, train, groups)

    def _note_cut(self, name: str, train: np.ndarray, groups: np.ndarray | None, what: str = "") -> None:
        cut = self._positions(name)
        labels = self.selection.labels
        size = len(self._scan.classes)
        numbers = np.bincount(labels[cut], minlength=size)[np.bincount(labels[train], minlength=size) > 0]
        grouped = ""
        if groups is not None:
            grouped = (
                f", in {len(np.unique(groups[cut])):,} of {len(np.unique(groups[train])):,} groups "
                f"by {self._asked.group_by}"
            )
        least, most = f"{numbers.min():,}", f"{numbers.max():,}"
        of_each = least if least == most else f"{least} to {most}"
        self.notes.append(
            f"{name}: {what}{len(cut):,} of {len(train):,} train images, {of_each} of each class{grouped}."
        )

    def _note_shared(self, official: list[str], groups: np.ndarray) -> None:
        """Warn of groups that splits of the source's own share with others."""
        for name in official:
            own = self._positions(name)
            shared = np.intersect1d(groups[own], groups[np.setdiff1d(self._used(), own)])
            if name != "train" and len(shared):
                self.notes.append(
                    f"Warning: {len(shared):,} groups of {name}, which came with the source, are in other splits too."
                )
