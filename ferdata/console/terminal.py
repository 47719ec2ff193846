"""What every program of ours does around its work: signals, output that cannot be written, errors, wrong usage.

In: a Typer application. Out: an exit code: 0 done, 1 an error of ours in one line, 2 wrong usage, 128 and a signal's
number where one stopped it.
"""

import contextlib
import copy
import errno
import os
import shutil
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

from ferdata.errors import FerdataError, OptionError, StoppedError
from ferdata.program import STOPS, as_typed, in_verb, note_program, note_stop, stopped, stopped_by
from ferdata.setting import options_of
from ferdata.shown import shown

__all__ = ["Verb", "run_program"]

_AGAIN_SECONDS = 0.05
_NARROWEST_PANELS = 72
_MOST_CHOICES = 3
_PACKAGE = Path(__file__).parents[1]


class Verb(TyperCommand):
    """A command that takes every option once, names them in errors as typed, and ends in one line when stopped."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Parse."""
        with self._naming_options():
            return super().make_context(*arguments, **more)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an option that is given twice: the last one would win without a word."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for param in dict.fromkeys(order):
            if param.param_type_name == "option" and not param.multiple and order.count(param) > 1:
                name = " or ".join([*param.opts, *param.secondary_opts])
                raise typer.BadParameter(f"given {order.count(param)} times, expected once.", ctx=ctx, param_hint=name)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help: in panels, if a terminal is wide enough for options with their whole names in them."""
        params, mode = self.params, self.rich_markup_mode
        self.params = [_fitting(param) for param in params]
        if (option := self.get_help_option(ctx)) is not None:
            option.metavar = ""
        if shutil.get_terminal_size().columns < _NARROWEST_PANELS:
            self.rich_markup_mode = None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.params, self.rich_markup_mode = params, mode

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        with self._naming_options():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                raise StoppedError(f"{ctx.info_name}: {stopped()}") from None

    @contextlib.contextmanager
    def _naming_options(self) -> Iterator[None]:
        """Let what is said in the block call options by their flags."""
        with in_verb(self._flags):
            try:
                yield
            except FerdataError as error:
                said = as_typed(str(error), leading=isinstance(error, OptionError))
                if said == str(error):
                    raise
                raise type(error)(said) from error

    def _flags(self) -> dict[str, list[str]]:
        """Return the flags of this verb's options, and of those that a data set is made with, which its notes name."""
        from ferdata.ingest.options import IngestOptions  # help has no use for it

        own = [param for param in self.params if param.param_type_name == "option"]
        made = {option.name: option.flags for option in options_of(IngestOptions)}
        return made | {param.name: [*param.opts, *param.secondary_opts] for param in own}


def _fitting(param: Any) -> Any:
    """Return an option whose help needs little room: a switch is one word, and many choices are in its text."""
    shown = copy.copy(param)
    choices = (param.metavar or "").strip("{}").split("|")
    if param.secondary_opts:
        (on,), (off,) = param.opts, param.secondary_opts
        name, values = f"{on}/{off}", (on, off)
        if off == f"--no-{on[2:]}":
            name, values = f"--[no-]{on[2:]}", ("on", "off")
        shown.opts, shown.secondary_opts, shown.metavar = [name], [], ""
        shown.show_default = values[not param.default]
    elif len(choices) > _MOST_CHOICES:
        shown.metavar, shown.help = param.name.upper(), f"{param.help} One of {', '.join(choices)}."
    return shown


def run_program(app: typer.Typer) -> NoReturn:
    """Run an application to its end and leave the process with its exit code."""
    note_program(sys.argv[0])
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            try:
                os.fstat(number)
            except OSError:  # closed: the next file opened would take its place, and be printed into
                os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
            if not stream.encoding.lower().startswith("utf"):
                app.rich_markup_mode = None  # help without frames that would be escaped sign by sign
    with _signals(), warnings.catch_warnings():
        warnings.showwarning = _note_warning(warnings.showwarning)
        code = _outcome(app)
    for stream in (sys.stdout, sys.stderr):
        code = _flushed(stream, code)
    sys.exit(code)


def _note_warning(others: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning of ours as a note of the verb, and anybody else's as it was shown before."""

    def show(message: Warning | str, category: type[Warning], filename: str, *more: Any) -> None:
        if category is UserWarning and Path(filename).is_relative_to(_PACKAGE):
            from ferdata.console.screen import show_note

            show_note(str(message))
        else:
            others(message, category, filename, *more)

    return show


def _outcome(app: typer.Typer) -> int:
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and stopped_by():  # outside of a verb, as between two of Typer's steps
            _complain(f"error: {stopped()}")
    except KeyboardInterrupt:
        code = 1
        _complain(f"error: {stopped()}")
    except FerdataError as error:
        code = 1
        _complain(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO) or error.filename is not None:
            raise
        code = 1
        _complain(f"error: standard output: {error.strerror}", quiet=error.errno == errno.EPIPE)
    else:
        code = 0
    return 128 + number if (number := stopped_by()) and code else code


def _complain(text: str, *, quiet: bool = False) -> None:
    with contextlib.suppress(OSError):
        if not quiet and sys.stderr is not None:
            print(_at_words(shown(text)), file=sys.stderr, flush=True)


def _at_words(text: str) -> str:
    """Break a sentence at words for a terminal; a file, and what holds something long that is copied, keep it whole."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return text
    if max(map(len, text.split()), default=0) > columns // 2:
        return text
    return "\n".join(textwrap.fill(line, columns, break_on_hyphens=False) for line in text.split("\n"))


def _flushed(stream: Any, code: int) -> int:
    """Write what a stream still holds; if it cannot, let it go, so that Python does not try again with a traceback."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not code and stream is sys.stdout:
            _complain(f"error: standard output: {error.strerror}", quiet=error.errno == errno.EPIPE)
        return code or 1
    return code


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and the end of the terminal stop the work as Ctrl-C does: all is tidied up, nobody left behind."""
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            note_stop(number)
            raise KeyboardInterrupt
        if number == signal.SIGTERM:  # a forked worker: its parent decides, and ends it
            os._exit(128 + number)

    def again(lost: Any) -> None:
        # Python drops what is raised where nobody could catch it, as between a fork's two sides or in a finalizer
        if issubclass(lost.exc_type, KeyboardInterrupt) and os.getpid() == own:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        else:
            before(lost)

    before, sys.unraisablehook = sys.unraisablehook, again
    signal.signal(signal.SIGALRM, lambda number, frame: stop(stopped_by() or signal.SIGINT, frame))
    for name in STOPS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a background job
            signal.signal(number, stop)
    yield
    for name in (*STOPS, "SIGALRM"):
        if hasattr(signal, name):  # what comes while Python ends would only be a traceback
            signal.signal(getattr(signal, name), signal.SIG_IGN)
