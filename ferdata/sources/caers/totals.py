"""How many images CAER-S holds."""

from ferdata.labels import ALPHABETICAL_7
from ferdata.sources.layout import Release

__all__ = ["CAERS_FULL"]

CAERS_FULL = Release(
    title="CAER-S",
    splits={"train": dict.fromkeys(ALPHABETICAL_7, 7001), "test": dict.fromkeys(ALPHABETICAL_7, 2999)},
)
"""By the numbers that images are called by; together they are the 70,000 that the paper speaks of."""
