"""Services behind a URL: how long one may be gone, what passes and what does not, and what web servers answer."""

from ferdata.remote.failures import IncompleteAnswerError, advice, reason
from ferdata.remote.objects import Objects
from ferdata.remote.patience import (
    PATIENCE_SECONDS,
    Patience,
    PatienceEndedError,
    RemoteCounts,
    all_counts,
    be_patient,
    usual_patience,
)
from ferdata.remote.protocols import HTTP, reading_options
from ferdata.remote.soundness import refetched, until_sound
from ferdata.remote.web import Web

__all__ = [
    "HTTP",
    "PATIENCE_SECONDS",
    "IncompleteAnswerError",
    "Objects",
    "Patience",
    "PatienceEndedError",
    "RemoteCounts",
    "Web",
    "advice",
    "all_counts",
    "be_patient",
    "reading_options",
    "reason",
    "refetched",
    "until_sound",
    "usual_patience",
]
