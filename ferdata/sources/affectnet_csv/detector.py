"""Detect AffectNet's full release of 2017, whose CSV files and image folders are looked for separately."""

from collections.abc import Iterator

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.affectnet.totals import AFFECTNET_TRAIN
from ferdata.sources.affectnet_csv.reader import scan
from ferdata.sources.affectnet_csv.rows import sample_paths
from ferdata.sources.files.listing import Tree, below, is_archive, is_image_at, iter_names, name_of
from ferdata.sources.files.text_tables import are_equal, is_table, read_head
from ferdata.sources.layout import Asked, Detection, Layout, Release

__all__ = ["AN_CSV"]

_OFFICIAL = {
    "training.csv": "train", "manually_training.csv": "train",
    "validation.csv": "val", "validate.csv": "val", "manually_validation.csv": "val",
    "automatically_annotated.csv": "automatic",
}  # fmt: skip
_ROLE_WORDS = (("auto", "automatic"), ("train", "train"), ("val", "val"), ("test", "test"))
_CSV_FOLDERS = ("manually_annotated", "automatically_annotated", "label", "annotation", "file_list", "csv")
_MAX_DEPTH = 4
_SAMPLE_ROWS = 50


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Return the CSV files by role and the image folders below ``folder``, or None where there is no such CSV file.

    Raises:
        AmbiguousLayoutError: If two CSV files claim one role, or two image folders hold the images.
        LayoutError: If the CSV files are there and their images are not, or one of them cannot be understood.
    """
    samples = {path: sample_paths(read_head(tree.store, path).rows) for path in _csv_files(tree, folder, depth=0)}
    files, notes = _by_role(tree, [path for path, sample in samples.items() if sample is not None])
    if not files:
        return None
    strange = [path for path, sample in samples.items() if sample is None and name_of(path).lower() in _OFFICIAL]
    if strange:
        raise LayoutError(
            f"{tree.store.path(strange[0])}: no row of AffectNet's release found in its first lines, "
            f"expected columns like those of {next(iter(files.values()))}; take an intact copy, or move it away"
        )
    folders: dict[str, str] = {}
    for part, word in (("manual", "manually"), ("automatic", "automatically")):
        tables = [name for role, name in files.items() if (role == "automatic") == (part == "automatic")]
        written = [path for name in tables for path in (samples[name] or ())[:_SAMPLE_ROWS]]
        try:
            if tables:
                folders[part] = _images(tree, folder, word, written, files)
        except AmbiguousLayoutError:
            raise
        except LayoutError as error:
            if not folders:
                raise
            notes.append(f"The automatically annotated part was left aside: {error}.")
            del files["automatic"]
    return Detection(layout=AN_CSV, root=folder, files=files, folders=folders, notes=tuple(notes))


def _csv_files(tree: Tree, folder: str, *, depth: int) -> Iterator[str]:
    here = tree.folder(folder)
    yield from here.paths(is_table)
    for name in here.dirs if depth < _MAX_DEPTH else ():
        path = below(folder, name)
        if not any(word in name.lower() for word in _CSV_FOLDERS):
            continue
        if _home(tree, path, down=False) is None:
            yield from _csv_files(tree, path, depth=depth + 1)
        else:
            # An image folder may hold 400,000 files: read its names, but keep only the lists among them.
            yield from (below(path, file) for file in sorted(tree.peek(path, is_table, at_most=9)))


def _by_role(tree: Tree, paths: list[str]) -> tuple[dict[str, str], list[str]]:
    by_role: dict[str | None, list[tuple[bool, str]]] = {}
    for path in paths:
        name = name_of(path).lower()
        role = _OFFICIAL.get(name) or next((role for word, role in _ROLE_WORDS if word in name), None)
        by_role.setdefault(role, []).append((name in _OFFICIAL, path))
    unknown = [path for _, path in by_role.pop(None, ())]
    if unknown and not by_role:
        raise AmbiguousLayoutError(
            f"{tree.store}: {', '.join(unknown)} found, expected a name that says the split; "
            "name it training.csv or validation.csv"
        )
    notes = [f"Ignored {path}: its name says no split (training.csv, validation.csv)." for path in unknown]
    files = {}
    for role in ("train", "val", "test", "automatic"):
        official = [path for is_official, path in by_role.get(role, ()) if is_official]
        named = [path for is_official, path in by_role.get(role, ()) if not is_official]
        claims = official or named
        if len(claims) > 1 and not are_equal(tree.store, claims):
            raise AmbiguousLayoutError(
                f"{tree.store}: {' and '.join(claims)} differ, expected one CSV file for the {role} rows; "
                "move the others away"
            )
        if claims:
            files[role] = claims[0]
            notes += [f"Ignored {path}: {claims[0]} is used." for path in (official + named)[1:]]
    return files, notes


def _images(tree: Tree, folder: str, word: str, written: list[str], files: dict[str, str]) -> str:
    named = [below(folder, name) for name in tree.folder(folder).dirs if name.lower().startswith(word)]
    homes = [home for path in named if (home := _home(tree, path)) is not None]
    other = "automatically" if word == "manually" else "manually"
    if not homes:
        homes = [path for path in _any_home(tree, folder, other) if _holds_any(tree, path, written)]
    if len(homes) > 1:
        homes = [home for home in homes if _holds_any(tree, home, written)] or homes
    if len(homes) > 1:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: image folders {' and '.join(map(repr, homes))} found, expected one; "
            "move the others away"
        )
    if homes:
        return homes[0]
    csv_files = ", ".join(files.values())
    archives = _archives(tree, folder, depth=2)
    if archives:
        raise LayoutError(
            f"{tree.store.path(folder)}: {csv_files} found, but the images are still packed ({', '.join(archives)}), "
            f"expected an unpacked image folder; unpack first"
        )
    raise LayoutError(
        f"{tree.store.path(folder)}: {csv_files} found, but no {word.capitalize()}_Annotated_Images/<n>/<hash>.<ext>, "
        f"expected both below one folder; give the folder that holds the CSV files and the images"
    )


def _home(tree: Tree, path: str, *, down: bool = True, depth: int = 0) -> str | None:
    """Return the folder at or below ``path`` that holds ``<n>/`` folders or the images themselves."""
    inside = []
    for name, is_dir in iter_names(tree.store, path):
        if (is_dir and name.isdecimal()) or (not is_dir and is_image_at(tree.store, path, name)):
            return path
        if is_dir:
            inside.append(name)
    if not down or depth == _MAX_DEPTH:
        return None
    homes = (_home(tree, below(path, name), depth=depth + 1) for name in sorted(inside))
    return next((home for home in homes if home is not None), None)


def _any_home(tree: Tree, folder: str, not_word: str, *, depth: int = 0) -> Iterator[str]:
    if _home(tree, folder, down=False) is not None:
        yield folder
    elif depth < _MAX_DEPTH:
        for name in tree.folder(folder).dirs:
            if not name.lower().startswith(not_word):
                yield from _any_home(tree, below(folder, name), not_word, depth=depth + 1)


def _holds_any(tree: Tree, home: str, written: list[str]) -> bool:
    paths = (path.replace("\\", "/") for path in written)
    return any(tree.store.exists(below(home, path)) or tree.store.exists(below(home, name_of(path))) for path in paths)


def _archives(tree: Tree, folder: str, *, depth: int) -> list[str]:
    here = tree.folder(folder)
    found = here.paths(is_archive)
    if depth and len(here.dirs) < 50:
        found += [path for name in here.dirs for path in _archives(tree, below(folder, name), depth=depth - 1)]
    return found


AN_CSV = Layout(
    name="AN-csv",
    source="affectnet",
    detector=_find,
    scan=scan,
    sign="training.csv with Manually_Annotated_Images/",
    is_scattered=True,
    classes=AFFECTNET_ALL,
    releases=(
        Release(
            title="the manually annotated part of the full AffectNet release of 2017",
            splits={"train": AFFECTNET_TRAIN, "val": dict.fromkeys(AFFECTNET_ALL, 500)},
        ),
    ),
    automatic=Release(title="the automatically annotated part of AffectNet", splits={"train": 539607}),
)
