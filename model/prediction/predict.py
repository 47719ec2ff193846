"""What runs say of an image, or of every image in a folder and the folders in it.

In: folders of runs, and a path. Out: a :class:`PredictResult`, and on request its table. An image that cannot be read
is a row with a reason.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from ferdata.errors import OptionError, StoreError
from ferdata.images.transform import ImageRejectedError
from ferdata.parallel import Progress
from ferdata.shown import counted
from ferdata.sources.files.image_bytes import read_image
from ferdata.sources.files.listing import below, is_image_at, iter_names, leads_up, natural_key
from ferdata.store import Store, folder_and_name, write_file_at
from ferdata.training.load import load_run
from ferdata.training.prediction.options import STILL_SIDE, PredictOptions
from ferdata.training.prediction.predictor import Pixels, Predictor
from ferdata.training.prediction.result import PredictResult, Row
from ferdata.training.run.checkpoint import BEST_NAME, LAST_NAME
from ferdata.training.run.process_group import find_device

if TYPE_CHECKING:
    from ferdata.training.prediction.faces import FaceCutter

__all__ = ["cutter_of", "predict", "predictor_of"]


def predict(options: PredictOptions, *, progress: Progress | None = None) -> PredictResult:
    """Say of each image what it shows, or of each face in it.

    A file goes through exactly the transform that made the shards a run was trained on. Several runs answer together,
    by the mean of their probabilities, or by vote.

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
    predictor = predictor_of(options)
    root, paths, notes = _find(str(options.source))
    cutter = cutter_of(options, side=STILL_SIDE) if options.faces else None
    rows: list[Row] = []
    done = 0
    remaining = iter(paths)
    while some := list(islice(remaining, options.batch_size)):
        rows += _predict_some(predictor, root, some, cutter)
        done += len(some)
        if progress is not None:
            progress(done, len(paths))
    result = PredictResult(
        runs=tuple(map(str, options.runs)),
        source=str(options.source),
        classes=predictor.classes,
        rows=tuple(rows),
        has_faces=options.faces,
        notes=tuple(notes),
    )
    if options.out is not None:
        write_file_at(str(options.out), result.to_csv().encode())
    return result


def predictor_of(options: PredictOptions) -> Predictor:
    """Return the runs that these options name, on their device."""
    device = find_device(options.device)
    return Predictor([load_run(run).to(device) for run in map(str, options.runs)], vote=options.vote)


def cutter_of(options: PredictOptions, *, side: int) -> "FaceCutter":
    """Return what finds faces and cuts them out as these options say; in pictures of this side if they do not say."""
    from ferdata.training.prediction.faces import FaceCutter

    return FaceCutter(
        min_score=options.min_score,
        longest_side=options.face_side or side,
        margin=options.margin,
        align=options.align,
    )


def _predict_some(predictor: Predictor, root: str, paths: list[str], cutter: "FaceCutter | None") -> list[Row]:
    rows: list[Row] = []
    pixels: list[Pixels] = []
    for path in paths:
        try:
            data = read_image(root, path)
            if cutter is None:
                pixels.append(predictor.pixels_of_file(data, path))
                rows.append(Row(path=path))
                continue
            picture = predictor.upright(data, path)
            found = cutter.finder(picture)
            cuts = [cutter.cut(picture, face) for face in found]
            pixels += [predictor.pixels_of_image(cut, path, points) for cut, points in cuts]
            rows += [Row(path=path, face=face) for face in found]
            if not found:
                rows.append(Row(path=path, reason="no_face", error=f"{path}: no face found"))
        except ImageRejectedError as error:
            rows.append(Row(path=path, reason=error.reason, error=str(error)))
        except StoreError as error:
            rows.append(Row(path=path, reason="image_unreadable", error=str(error)))
    answers = iter(predictor(pixels))
    return [row if row.reason else replace(row, prediction=next(answers)) for row in rows]


def _find(source: str) -> tuple[str, list[str], list[str]]:
    """Return a root, the images below it, and notes on what else lies there."""
    store = Store(source)
    if not store.is_dir():
        folder, name = folder_and_name(source)
        if not folder.exists(name):
            raise OptionError(f"{source}: nothing found there, expected an image or a folder of images; check the path")
        return folder.root, [name], []
    if store.exists(BEST_NAME) or store.exists(LAST_NAME):
        raise OptionError(
            f"{source}: a run found, expected an image, a folder of images, or a video; name it after the runs"
        )
    found = list(_walk(store, ""))
    images = sorted((path for path, is_image in found if is_image), key=natural_key)
    if not images:
        raise OptionError(f"{source}: {len(found):,} files and no image found, expected some; name another folder")
    others = len(found) - len(images)
    left_out = counted(others, "file that is no image is", "files that are no images are")
    return store.root, images, [f"{left_out} left out."] if others else []


def _walk(store: Store, folder: str) -> Iterator[tuple[str, bool]]:
    """Yield every file at or below a folder, and whether it is an image."""
    for name, is_dir in sorted(iter_names(store, folder)):
        path = below(folder, name)
        if not is_dir:
            yield path, is_image_at(store, folder, name)
        elif not leads_up(store, path):
            yield from _walk(store, path)
