"""Pictures that are nearly the same: cropped, scaled, compressed, mirrored or of another brightness.

Candidates come from perceptual hashes (:mod:`ferdata.audit.search`), and are laid over each other
(:mod:`ferdata.audit.register`), first the small pictures in memory, then pixels out of the shards.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ferdata.audit.finding import Finding, pair_findings
from ferdata.audit.measure import grey, shrink
from ferdata.audit.options import AuditOptions, Say
from ferdata.audit.register import compare
from ferdata.audit.search import VIEWS, find_candidates
from ferdata.audit.survey import Survey
from ferdata.audit.threads import each_in_a_thread

__all__ = ["find_near_copies"]

_SIDE = 64
"""Of the pictures that are compared at last; smaller tensors as they are."""

_LIKELY, _SAME = 0.93, 0.955
"""Least correlation of the small pictures, and of the larger ones; docs/audit.md says how far copies and others are
from it."""

_PAIRS = 256
_STEPS = 3


def find_near_copies(survey: Survey, options: AuditOptions, say: Say) -> list[Finding]:
    """Return pairs that show the same picture and are not the same to the last bit."""
    if not options.near:
        return []
    _, samples = np.unique(survey.groups, return_index=True)
    samples = np.sort(samples[survey.measure("contrast")[samples] >= 1.0])
    threads = options.resolved_workers()
    found = find_candidates(
        survey.thumbs[samples],
        seed=options.seed,
        num_threads=threads,
        progress=lambda done, total: say("looking for near copies", done, total),
    )
    pairs = samples[found.pairs]
    maps = torch.tensor([view.affine() for view in VIEWS])[torch.from_numpy(found.views)]
    in_memory = lambda part: torch.from_numpy(survey.thumbs[part]).float()  # noqa: E731
    scores, maps = _compare(pairs, maps, in_memory, threads, partial(say, "comparing small pictures"))
    likely = np.flatnonzero(scores >= _LIKELY)
    pairs, maps = pairs[likely], maps[torch.from_numpy(likely)]
    scores, _ = _compare(pairs, maps, partial(_pictures, survey), threads, partial(say, "comparing pixels"))
    pairs, scores = pairs[scores >= _SAME], scores[scores >= _SAME]
    survey.join(pairs)
    meaning = "They differ in crop, size, compression, brightness or which way they face."
    return pair_findings(survey, "near-copy", "Nearly the same picture", meaning, pairs, scores)


def _pictures(survey: Survey, samples: np.ndarray) -> torch.Tensor:
    """Return grey pictures of samples out of the shards, float32 ``[n, side, side]``."""
    side = min(_SIDE, *survey.index.spec.shape[1:])
    different, places = np.unique(samples, return_inverse=True)
    shades = [shrink(grey(pixels), side) for pixels in survey.pixels(different)]
    return torch.from_numpy(np.stack(shades)).float()[torch.from_numpy(places)]


def _compare(
    pairs: np.ndarray,
    maps: torch.Tensor,
    pictures: Callable[[np.ndarray], torch.Tensor],
    num_threads: int,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, torch.Tensor]:
    """Return the correlation of every pair, and how the first lies over the second."""

    def work(start: int) -> tuple[torch.Tensor, torch.Tensor]:
        part = pairs[start : start + _PAIRS]
        moving, fixed = torch.split(pictures(part.T.ravel()), len(part))
        return compare(moving, fixed, maps[start : start + _PAIRS], steps=_STEPS)

    scores, found = [torch.empty(0)], [torch.empty(0, 2, 3)]
    for score, laid in each_in_a_thread(work, range(0, len(pairs), _PAIRS), num_threads=num_threads):
        scores.append(score)
        found.append(laid)
        progress(min(len(pairs), _PAIRS * len(scores[1:])), len(pairs))
    return torch.cat(scores).numpy(), torch.cat(found)
