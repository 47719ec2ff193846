"""Progress bars and sentences that fit their terminal.

In: rich's columns, and which of them are missed least. Out: one line with nothing cut.
"""

from collections.abc import Iterable
from itertools import accumulate

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Table

__all__ = ["FittingProgress", "is_kept_whole"]


class FittingProgress(Progress):
    """Leaves columns out where a terminal is too narrow for all, which rich would cut each a little.

    Args:
        columns: From left to right.
        spare: Groups of columns to leave out, first those that are missed least.
        console: Where to.
    """

    def __init__(
        self, *columns: ProgressColumn, spare: Iterable[tuple[ProgressColumn, ...]], console: Console, disable: bool
    ) -> None:
        self._terminal = console  # rich draws a first time before it has set its own
        self._spared = list(accumulate(spare, initial=()))
        super().__init__(*columns, console=console, transient=True, disable=disable)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the line of each task, with as many columns as fit."""
        shown, every = list(tasks), self.columns
        unlimited = self._terminal.options.update(width=10_000)
        try:
            for spared in self._spared:
                self.columns = tuple(column for column in every if column not in spared)
                table = super().make_tasks_table(shown)
                if table.__rich_measure__(self._terminal, unlimited).maximum <= self._terminal.width:
                    break
        finally:
            self.columns = every
        return table


def is_kept_whole(line: str, console: Console) -> bool:
    """Say whether a line is left to the terminal to break, and not broken at words.

    What holds something long, such as a path, is copied as it was printed; so is what is printed to a file.
    """
    return not console.is_terminal or max(map(len, line.split()), default=0) > console.width // 2
