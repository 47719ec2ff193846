"""Small networks that judge samples which they were not trained on.

In: a survey. Out: class probabilities of every sample. Costs about the same for every large set: the number of training
steps is bounded, and each sample is judged once.
"""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ferdata.audit.options import AuditOptions, Say
from ferdata.audit.survey import Survey
from ferdata.audit.threads import one_thread_each
from ferdata.stream import BatchContext, Compose, HorizontalFlip, Loader, Normalize, RandomResizedCrop
from ferdata.training.run.process_group import find_device

__all__ = ["FOLDS", "deal_folds", "out_of_fold_probabilities"]

FOLDS = 4

_SIDE = 48
"""Images are shrunk to at most this, by a whole factor."""

_BATCH = 64
_EPOCHS = 12
_LEAST_STEPS, _MOST_STEPS = 300, 2500
_WIDTHS = (16, 32, 64, 96)
_RATE = 4e-3


class Shrink:
    """Averages square blocks of pixels, so that no side is longer than ``_SIDE``; gives floats."""

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        """Return float32 ``[N, C, h, w]``."""
        return functional.avg_pool2d(images.float(), -(-max(images.shape[2:]) // _SIDE))


def out_of_fold_probabilities(survey: Survey, options: AuditOptions, say: Say) -> np.ndarray:
    """Return float64 ``[N, classes]``: what networks think that have not seen a sample, nor a copy of it.

    Samples are dealt to folds, copies of each other to the same one. Each fold is judged by a network that was trained
    on the others: on their part of ``train``, or of the first split.
    """
    device = find_device(options.device)
    split = "train" if "train" in survey.index.splits else survey.index.splits[0]
    in_split = survey.splits == survey.index.splits.index(split)
    folds = deal_folds(survey.groups, options.seed)
    steps = options.steps or int(np.clip(_EPOCHS * in_split.sum() / _BATCH, _LEAST_STEPS, _MOST_STEPS))
    taken, stopped = [0] * FOLDS, threading.Event()
    torch.manual_seed(options.seed)
    shape = (survey.index.spec.shape[0], len(survey.index.classes))
    networks = [_network(*shape).to(device) for _ in range(FOLDS)]
    probabilities = np.zeros((len(survey), len(survey.index.classes)))

    def judge(fold: int) -> None:
        def tell(step: int) -> None:
            if stopped.is_set():
                raise CancelledError  # or Ctrl-C would wait for the last step
            taken[fold] = step
            say("training small networks", sum(taken), FOLDS * steps)

        _train(networks[fold], survey, options, split, np.flatnonzero(in_split & (folds != fold)), steps, tell)
        for number, name in enumerate(survey.index.splits):
            wanted = np.flatnonzero((survey.splits == number) & (folds == fold))
            if len(wanted):
                probabilities[wanted] = _judge(networks[fold], survey, options, name, wanted)

    with one_thread_each(), ThreadPoolExecutor(min(FOLDS, options.resolved_workers())) as pool:
        try:
            for future in [pool.submit(judge, fold) for fold in range(FOLDS)]:
                future.result()
        finally:
            stopped.set()  # before the pool waits for its threads
    return probabilities


def deal_folds(groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of every sample, int64 ``[N]``, the same for samples of one group, int64 ``[N]``."""
    of_group = np.random.default_rng((seed, len(groups))).permutation(int(groups.max()) + 1) % FOLDS
    folds: np.ndarray = of_group[groups]
    return folds


def _network(channels: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for number, width in enumerate(_WIDTHS):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(2) if number < len(_WIDTHS) - 1 else nn.AdaptiveAvgPool2d(3))
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * channels, classes))


def _train(
    network: nn.Module,
    survey: Survey,
    options: AuditOptions,
    split: str,
    samples: np.ndarray,
    steps: int,
    progress: Callable[[int], None],
) -> None:
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    network.train()
    augment = [RandomResizedCrop(scale=(0.8, 1.0)), HorizontalFlip()]
    with _loader(survey, options, split, samples, shuffle=True, transform=augment) as loader:
        step = 0
        while step < steps:
            for images, labels in loader:
                logits = network(images.to(device))
                loss = functional.cross_entropy(logits, labels.to(device), label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                step += 1
                progress(step)
                if step == steps:
                    break


@torch.no_grad()
def _judge(network: nn.Module, survey: Survey, options: AuditOptions, split: str, samples: np.ndarray) -> np.ndarray:
    """Return the probabilities of samples, float64 ``[n, classes]``."""
    device = next(network.parameters()).device
    network.eval()
    judged = []
    with _loader(survey, options, split, samples, shuffle=False, transform=[]) as loader:
        for images, _ in loader:
            judged.append(functional.softmax(network(images.to(device)), dim=1).cpu())
    return torch.cat(judged).double().numpy()[: len(samples)]


def _loader(
    survey: Survey, options: AuditOptions, split: str, samples: np.ndarray, *, shuffle: bool, transform: list[object]
) -> Loader:
    return Loader(
        survey.store.root,
        split=split,
        indices=samples - survey.index.rows(split).start,
        batch_size=min(_BATCH, len(samples)) if shuffle else 4 * _BATCH,
        num_workers=1,
        workers="thread",
        shuffle=shuffle,
        sampling=_class_weights(survey, samples) if shuffle else "uniform",
        seed=options.seed,
        transform=Compose([Shrink(), *transform, Normalize.of(survey.index)]),
    )


def _class_weights(survey: Survey, samples: np.ndarray) -> dict[str, float]:
    """Return weights halfway between uniform and balanced sampling.

    Without any, networks never learn rare classes and contradict all of their labels; with balanced sampling, the few
    wrong labels among theirs are seen so often that they are learnt (docs/audit.md).
    """
    names, counts = np.unique(survey.labels[samples], return_counts=True)
    return {survey.index.classes[name]: float(count) ** 0.5 for name, count in zip(names, counts, strict=True)}
