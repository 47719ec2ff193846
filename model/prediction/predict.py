"""What runs say of an image, or of every image in a folder and the folders in it.

In: folders of runs, and a path. Out: a :class:`PredictResult`, and on request its table. An image that cannot be read
is a row with a reason.
"""

from collections.abc import Iterator
from itertools import islice

from ferdata.errors import OptionError, StoreError
from ferdata.images.transform import ImageRejectedError
from ferdata.parallel import Progress
from ferdata.sources.files.image_bytes import read_image
from ferdata.sources.files.listing import below, is_image_at, iter_names, leads_up, natural_key
from ferdata.store import Store, folder_and_name, write_file_at
from ferdata.training.load import load_run
from ferdata.training.prediction.options import PredictOptions
from ferdata.training.prediction.predictor import Pixels, Predictor
from ferdata.training.prediction.result import PredictResult, Row
from ferdata.training.run.process_group import find_device

__all__ = ["predict"]


def predict(options: PredictOptions, *, progress: Progress | None = None) -> PredictResult:
    """Say of each image what it shows.

    A file goes through exactly the transform that made the shards a run was trained on. Several runs answer together,
    by the mean of their probabilities.

    Args:
        options: What to do.
        progress: Called with (images done, images).

    Raises:
        OptionError: If there is no image.
        StoreError: If the folder cannot be listed, or the table cannot be written.
        TrainError: If a run cannot be read.

    Example:
        >>> result = ferdata.predict(ferdata.PredictOptions(runs=["runs/first"], source="data/rafdb"))
        >>> round(sum(result.rows[0].prediction.probabilities.values()), 3)
        1.0
    """
    device = find_device(options.device)
    names = tuple(map(str, options.runs))
    predictor = Predictor([load_run(run).to(device) for run in names])
    root, paths, notes = _find(str(options.source))
    rows: list[Row] = []
    remaining = iter(paths)
    while some := list(islice(remaining, options.batch_size)):
        rows += _predict_some(predictor, root, some)
        if progress is not None:
            progress(len(rows), len(paths))
    result = PredictResult(
        runs=names, source=str(options.source), classes=predictor.classes, rows=tuple(rows), notes=tuple(notes)
    )
    if options.out is not None:
        write_file_at(str(options.out), result.to_csv().encode())
    return result


def _predict_some(predictor: Predictor, root: str, paths: list[str]) -> list[Row]:
    made = [_read(predictor, root, path) for path in paths]
    answers = iter(predictor([each for each in made if not isinstance(each, Row)]))
    return [
        each if isinstance(each, Row) else Row(path=path, prediction=next(answers))
        for path, each in zip(paths, made, strict=True)
    ]


def _read(predictor: Predictor, root: str, path: str) -> Pixels | Row:
    try:
        return predictor.pixels_of_file(read_image(root, path), path)
    except ImageRejectedError as error:
        return Row(path=path, reason=error.reason, error=str(error))
    except StoreError as error:
        return Row(path=path, reason="image_unreadable", error=str(error))


def _find(source: str) -> tuple[str, list[str], list[str]]:
    """Return a root, the images below it, and notes on what else lies there."""
    store = Store(source)
    if not store.is_dir():
        folder, name = folder_and_name(source)
        if not folder.exists(name):
            raise OptionError(f"{source}: nothing found there, expected an image or a folder of images; check the path")
        return folder.root, [name], []
    found = list(_walk(store, ""))
    images = sorted((path for path, is_image in found if is_image), key=natural_key)
    if not images:
        raise OptionError(f"{source}: {len(found):,} files and no image found, expected some; name another folder")
    others = len(found) - len(images)
    return store.root, images, [f"{others:,} files that are no images are left out."] if others else []


def _walk(store: Store, folder: str) -> Iterator[tuple[str, bool]]:
    """Yield every file at or below a folder, and whether it is an image."""
    for name, is_dir in sorted(iter_names(store, folder)):
        path = below(folder, name)
        if not is_dir:
            yield path, is_image_at(store, folder, name)
        elif not leads_up(store, path):
            yield from _walk(store, path)
