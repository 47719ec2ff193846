"""What a person sees in a terminal of any width: nothing that is cut, and sentences that break at words."""

import os
import struct
import sys
from io import StringIO

import pytest
from rich.console import Console

from ferdata.console import screen, terminal
from ferdata.ingest import IngestProgress
from ferdata.training import RichProgress, StepStatus


@pytest.fixture(params=[48, 60, 80, 120])
def narrow(request: pytest.FixtureRequest) -> Console:
    """A terminal of some width."""
    return Console(file=StringIO(), force_terminal=True, width=request.param, color_system=None)


def test_no_progress_bar_is_cut_on_a_narrow_terminal(narrow: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of the real size at 80 columns: figures with dots in place of their ends say nothing."""
    monkeypatch.setattr(screen, "console", narrow)
    with screen.ingest_bar() as update:
        update(IngestProgress(phase="write", done=200_000, total=291_650, rejected=1234, seconds=20.0))
    progress = RichProgress(narrow)
    with progress:
        progress.on_step(
            StepStatus(
                epoch=9,
                epochs=30,
                step=12_000,
                total_steps=27_300,
                loss=2.08,
                images_per_second=12_345.0,
                data_wait_share=0.25,
            )
        )
    seen = narrow.file.getvalue()

    assert "…" not in seen
    assert "200000/291650" in seen
    assert "12,345 images/s, loss 2.080," in seen
    assert ("waits 25.0%" in seen) == (narrow.width >= 80)


def test_a_sentence_breaks_at_words_and_what_is_copied_stays_whole(
    narrow: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures are not torn apart; a path goes into another command."""
    monkeypatch.setattr(screen, "console", narrow)
    words = "val, 32 samples: accuracy 6.2% (0.0% to 15.6%), balanced 6.2% (0.0% to 12.5%)"
    path = f"report: {'/folder' * 30}/page.html"

    screen.show_text(f"{words}\n{path}")
    *sentence, last = narrow.file.getvalue().splitlines()

    assert " ".join(line.strip() for line in sentence) == words
    assert all(len(line) <= narrow.width for line in sentence) and last == path


def test_an_error_breaks_at_words_too_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only there: a file has it in one line, as has whoever copies a path out of it."""
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    main, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    long = f"error: {'/folder' * 9}: no index.json found, expected one"
    with open(main, "rb", buffering=0) as shown, open(side, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        terminal._complain("error: --lr: 3 found, expected at most 1; choose less")
        terminal._complain(long)
        said = b""
        while said.count(b"\n") < 3:  # a terminal gives a line at a time
            said += shown.read(1000)
        lines = said.decode().splitlines()

    assert lines == ["error: --lr: 3 found, expected", "at most 1; choose less", long]
