"""Settings that several verbs have in common: where networks compute, how much at a time, and how several choose."""

from typing import Annotated

from ferdata.setting import Setting

__all__ = ["BatchSize", "Device", "LoaderWorkers", "Vote"]

BatchSize = Annotated[int, Setting("Take so many images at a time.", "Machine", least=1)]
Device = Annotated[str, Setting("Compute on this device: auto, cpu, cuda or cuda:<n>.", "Machine")]
LoaderWorkers = Annotated[
    int | None,
    Setting("Start this many loader processes.", "Machine", none="one per core, at most 8", flag="--workers"),
]
Vote = Annotated[bool, Setting("Let several runs vote for a class, in place of the mean of their probabilities.")]
