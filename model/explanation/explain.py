"""What a trained network looks at: its layers, and for a split of a data set what speaks for its answers.

In: the folder of a run. Out: an :class:`Explanation`, and a folder with a page, the figures and a map of the samples.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ferdata.errors import OptionError
from ferdata.format import read_index
from ferdata.optional import needs
from ferdata.parallel import Progress
from ferdata.store import Store
from ferdata.stream import ShardDataset
from ferdata.training.cover import open_covered, read_covers
from ferdata.training.explanation.embedding import embed
from ferdata.training.explanation.layers import activations, first_filters, last_maps, list_layers, spatial_convolutions
from ferdata.training.explanation.options import ExplainOptions
from ferdata.training.explanation.result import Example, Explanation, FeatureMaps
from ferdata.training.explanation.survey import Survey, survey
from ferdata.training.load import TrainedNetwork, load_run
from ferdata.training.run.folder import open_run
from ferdata.training.run.process_group import find_device

__all__ = ["explain"]

_MOST_LAYERS = 6
_MOST_CHANNELS = 10


def explain(
    options: ExplainOptions, *, progress: Progress | None = None, network: nn.Module | None = None
) -> Explanation:
    """Show what a run's best network looks at, and write a page.

    Args:
        options: What to show.
        progress: Called with (samples done, samples).
        network: What was trained, if it was given as an object; it takes the weights of the run.

    Raises:
        OptionError: If the split is not there, run and data set have no class in common, or a package is missing.
        TrainError: If the run cannot be read.
        StoreError: If the page cannot be written.

    Example:
        >>> found = ferdata.explain(ferdata.ExplainOptions(run="runs/first", faces=2, examples=1))
        >>> found.grid.accuracy.shape, len(found.embedding)
        ((9, 37), 32)
    """
    with needs("explain", "explain", "captum", "sklearn"), needs("train", "explain", "matplotlib", "jinja2"):
        from ferdata.training.explanation.write import write_explanation
    device = find_device(options.device)
    trained = load_run(options.run, network=network).to(device)
    for module in trained.modules():
        if hasattr(module, "inplace"):
            vars(module)["inplace"] = False  # a map that is looked at must not be overwritten by the layer behind it
    shards = str(options.shards) if options.shards is not None else open_run(options.run)[1].roots[0]
    index = read_index(Store(shards))
    if options.split not in index.splits:
        raise OptionError(
            f"split: {options.split} found, expected one of {', '.join(index.splits)}, which {shards} has"
        )
    (cover,) = read_covers([trained], shards, options.split)
    found = survey(trained, options, shards, index, device, cover, progress)
    images = open_covered(shards, options.split, cover)
    faces = _stored(images, found.indices[_first_of_classes(found.labels, options.faces)])
    blank = trained.prepare(torch.from_numpy(faces[:1]).to(device))
    convolutions = spatial_convolutions(trained.network, blank)
    filters, cam_layer = first_filters(convolutions), last_maps(trained.network, blank)
    result = Explanation(
        run=str(options.run),
        shards=shards,
        source=index.source,
        split=options.split,
        classes=trained.classes,
        keys=found.keys,
        labels=found.labels,
        probabilities=found.probabilities,
        layers=list_layers(trained.network, blank),
        cam_layer=cam_layer[0] if cam_layer else None,
        filters=None if filters is None else filters.numpy(),
        faces=faces,
        maps=_feature_maps(trained, torch.from_numpy(faces).to(device), [*convolutions]),
        examples=_examples(trained, found, images, cam_layer[1] if cam_layer else None, options, device),
        regions=found.regions,
        grid=found.grid,
        mean_faces=found.mean_faces,
        embedded=found.embedded,
        embedding=embed(found.features),
        notes=found.notes,
    )
    home = Path(options.run) if Path(options.run).is_dir() else Path(options.run).parent
    page = write_explanation(result, home / "explain" if options.out is None else Path(options.out))
    return replace(result, page=str(page))


def _first_of_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return places of samples of as many classes as there are: the first of each class, then the second of each."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    rank = np.arange(len(labels)) - starts
    return order[np.argsort(rank, kind="stable")][:count]


def _stored(images: ShardDataset, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(images[int(number)].images) for number in indices])


def _feature_maps(network: TrainedNetwork, faces: torch.Tensor, names: Sequence[str]) -> tuple[FeatureMaps, ...]:
    """Return maps of at most six convolutions, evenly spaced, and of each the channels that vary most."""
    if not names:
        return ()
    shown = [names[place] for place in sorted({*np.linspace(0, len(names) - 1, _MOST_LAYERS).round().astype(int)})]
    found = activations(network.network, network.prepare(faces), shown)
    maps = []
    for name in shown:
        spread = found[name].std((0, 2, 3), correction=0)
        channels = sorted(spread.argsort(descending=True, stable=True)[:_MOST_CHANNELS].tolist())
        maps.append(
            FeatureMaps(layer=name, channels=tuple(channels), maps=found[name][:, channels].numpy(), of=len(spread))
        )
    return tuple(maps)


def _examples(
    network: TrainedNetwork,
    found: Survey,
    images: ShardDataset,
    layer: nn.Module | None,
    options: ExplainOptions,
    device: torch.device,
) -> tuple[Example, ...]:
    """Return the surest hits and mistakes of each class, with what spoke for what was said."""
    from ferdata.training.explanation.attribution import grad_cam, integrated_gradients

    predicted = found.probabilities.argmax(1)
    sure = found.probabilities[np.arange(len(predicted)), predicted]
    chosen: list[int] = []
    for label in range(len(network.classes)):
        for is_right in (True, False):
            places = np.flatnonzero((found.labels == label) & ((predicted == label) == is_right))
            chosen += places[np.argsort(-sure[places], kind="stable")][: options.examples].tolist()
    examples: list[Example] = []
    for first in range(0, len(chosen), options.batch_size):
        part = chosen[first : first + options.batch_size]
        stored = _stored(images, found.indices[part])
        prepared = network.prepare(torch.from_numpy(stored).to(device))
        said = torch.from_numpy(predicted[part]).to(device)
        cams = None if layer is None else grad_cam(network.network, layer, prepared, said).numpy()
        gradients = integrated_gradients(network.network, prepared, said).numpy()
        examples += [
            Example(
                key=found.keys[place],
                actual=int(found.labels[place]),
                predicted=int(predicted[place]),
                confidence=float(sure[place]),
                image=stored[number],
                cam=None if cams is None else cams[number],
                gradients=gradients[number],
            )
            for number, place in enumerate(part)
        ]
    return tuple(examples)
