"""The command line, a file a verb: the options they share, what they print. The last room: it may import all others."""

import signal
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the imports below run, Ctrl-C just ends the process
    from ferdata.console.app import app
    from ferdata.console.terminal import run_program
    from ferdata.parallel import let_threads_sleep

    let_threads_sleep()  # before a verb imports torch

    run_program(app)
