"""ferdata on the command line: each verb parses, calls one library function, and prints.

Exit codes: 0 done, 1 an error of ours (one line that says where, what and what to do), 2 wrong usage, 130 stopped by Ctrl-C; a
traceback is a bug.
"""

import signal
import sys
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

_is_program = __name__ == "__main__" or Path(sys.argv[0]).stem == "ferdata"
if _is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the imports below run, Ctrl-C just ends the process

import typer

from ferdata.console.options import Folder, Json, LocalOut, Out, OutOrUsual, Picture, Plot, Shards, Workers, check_codec
from ferdata.console.options import names as _names
from ferdata.console.options import write_json as _write_json
from ferdata.console.terminal import Verb, run_program
from ferdata.errors import OptionError
from ferdata.own import prefer_own
from ferdata.program import command_line

__all__ = ["app", "main"]

_HELP = "Convert facial-expression images to shards once, and stream them at memory speed."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
_verb = partial(app.command, cls=Verb)


class Source(StrEnum):
    """A data set ``shard`` reads."""

    affectnet = "affectnet"
    rafdb = "rafdb"
    folder = "folder"


class Drawn(StrEnum):
    """A data set ``synth`` draws."""

    affectnet = "affectnet"
    rafdb = "rafdb"


_OBTAIN = {
    "affectnet": "ask its authors for AffectNet (academic use only) and unpack it there",
    "rafdb": "ask its authors for RAF-DB (academic use only) and unpack it there",
    "folder": "put <split>/<class>/<image> folders there",
}


@_verb(help="Convert a folder of images to shards.")
def shard(
    source: Annotated[Source, typer.Argument(help="What the images are.")],
    src: Annotated[str | None, typer.Option(metavar="DIR", help="Source folder or URL; data/<source> when left out.")] = None,
    out: OutOrUsual = None,
    size: Annotated[int, typer.Option(help="Height and width of the tensors.")] = 224,
    codec: Annotated[str, typer.Option(help="raw, zstd, compact, jpeg or auto (let plan choose).")] = "zstd",
    level: Annotated[int | None, typer.Option(help="zstd level; lower is faster and larger.")] = None,
    workers: Workers = None,
    engine: Annotated[str, typer.Option(help="local processes, or a ray cluster (RAY_ADDRESS, or one on this machine).")] = "local",
    limit: Annotated[int | None, typer.Option(help="Take a stratified, seeded subset of so many images.")] = None,
    seed: Annotated[int, typer.Option(help="Of the order, the splits and the limit.")] = 0,
    classes: Annotated[int, typer.Option(help="8 or 7 AffectNet classes (7 leaves out Contempt).")] = 8,
    labels: Annotated[str | None, typer.Option(help="Order of numeric class folders: affectnet, rafdb or alphabetical.")] = None,
    crop: Annotated[str, typer.Option(help="box: cut to the face box where the layout has one; none: whole images.")] = "box",
    rafdb_images: Annotated[str, typer.Option(help="aligned or original.")] = "aligned",
    automatic: Annotated[bool, typer.Option(help="Add AffectNet's automatically annotated part to train.")] = False,
    keep_non_emotion: Annotated[bool, typer.Option(help="Keep AffectNet's classes None, Uncertain and No-Face.")] = False,
    val: Annotated[float | None, typer.Option(help="Cut a val split off train: a share (0.1), or so many of each class (500).")] = None,
    test: Annotated[float | None, typer.Option(help="Cut a test split off train: a share (0.1), or so many of each class (500).")] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Never cut a group apart: a field (gender), or a pattern in the path with the group in parentheses."),
    ] = None,
    drop_leaks: Annotated[bool, typer.Option(help="Leave out train images that are in another split too.")] = False,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Go on with a stopped run, or start afresh.")] = True,
    json_file: Json = None,
) -> None:
    from ferdata.console.screen import ingest_bar, show_ingest
    from ferdata.format import CODECS
    from ferdata.ingest import IngestOptions, ingest
    from ferdata.store import Store

    check_codec(codec, [*CODECS, "auto"])
    source_root = src or f"data/{source.value}"
    if not Store(source_root).exists():
        drawn = source.value if source is not Source.folder else "rafdb"
        ferdata = command_line()
        there = source_root if source is not Source.folder else f"data/{drawn}"
        raise OptionError(
            f"{source_root}: no such folder, expected the images of {source.value}; {_OBTAIN[source.value]}, "
            "or name the folder with --src. "
            f"To try ferdata without it: {ferdata} synth {drawn} {there} --count 2000, then {ferdata} shard {drawn} --src {there}"
        )
    options = IngestOptions(
        source=source.value,
        src=source_root,
        out=out or f"shards/{source.value}",
        size=size,
        codec="zstd" if codec == "auto" else codec,
        level=level,
        num_workers=workers,
        engine=engine,
        limit=limit,
        seed=seed,
        classes=classes,
        labels=labels,
        crop=crop,
        rafdb_images=rafdb_images,
        automatic=automatic,
        keep_non_emotion=keep_non_emotion,
        val=val,
        test=test,
        group_by=group_by,
        drop_leaks=drop_leaks,
        resume=resume,
    )
    if codec == "auto":
        from ferdata.plan.advise import choose_codec

        options = replace(options, codec=choose_codec(source.value, source_root, size=size, options=options))
    with ingest_bar() as progress:
        summary = ingest(options, progress=progress)
    _write_json(json_file, summary.to_json())
    show_ingest(summary)


@_verb(help="Draw synthetic faces as a source tree in the data set's true layout.")
def synth(
    source: Annotated[Drawn, typer.Argument(help="Which data set's layout, labels and class balance.")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the source tree goes.")],
    count: Annotated[int, typer.Option(help="Images in all.")] = 2000,
    size: Annotated[int | None, typer.Option(help="Height and width; 224 for affectnet, 100 for rafdb when left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of the faces.")] = 0,
    workers: Workers = None,
    layout: Annotated[str | None, typer.Option(help="AN-npy, AN-csv, RAF-basic or RAF-original.")] = None,
    json_file: Json = None,
) -> None:
    from dataclasses import asdict

    from ferdata.console.screen import class_table, counting_bar, pairs
    from ferdata.console.screen import size as size_of
    from ferdata.synth import write_synthetic

    with counting_bar("drawing faces") as progress:
        summary = write_synthetic(
            source.value, folder, count=count, size=size, seed=seed, num_workers=workers, layout=layout, progress=progress
        )
    _write_json(json_file, asdict(summary) | {"images_per_second": summary.images_per_second})
    rate = f"{summary.images:,} in {summary.seconds:.1f} s, {summary.images_per_second:,.0f} images/s"
    pairs(
        f"synthetic {source.value} ({summary.layout}) -> {folder}", {"images": rate, "mean size": size_of(summary.bytes / summary.images)}
    )
    class_table(summary.counts)


@_verb(help="Say what a data set holds.")
def info(folder: Folder, json_file: Json = None) -> None:
    from ferdata.console.screen import show_description
    from ferdata.dataset.info import describe

    description = describe(folder)
    _write_json(json_file, description.to_json())
    show_description(description)


@_verb(help="Check every checksum and every count.")
def verify(
    folder: Folder,
    deep: Annotated[bool, typer.Option(help="Decode every sample and compare it with the index.")] = False,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    from ferdata.console.screen import console, counting_bar
    from ferdata.dataset.verify import verify as check

    with counting_bar("verifying shards") as progress:
        report = check(folder, deep=deep, num_workers=workers, progress=progress)
    _write_json(json_file, report.to_json())
    for error in report.errors:
        console.print(error, style="red", markup=False, highlight=False, soft_wrap=True)
    verdict = "sound" if report.ok else f"NOT sound, {len(report.errors)} faults"
    # what is missing or damaged was not decoded: the counts are then what the index lists
    reach = (", every one decoded" if deep else "") if report.ok else " in the index"
    console.print(f"{folder}: {verdict}; {report.shards} shards, {report.samples:,} samples{reach}")
    if not report.ok:
        raise typer.Exit(1)


@_verb(help="Measure this machine and say which codec and how many workers suit a data set here.")
def plan(folder: Folder, json_file: Json = None) -> None:
    from ferdata.console.screen import console
    from ferdata.plan.advise import plan as measure
    from ferdata.plan.advise import show_plan

    found = measure(folder, say=lambda text: console.print(text, style="dim"))
    _write_json(json_file, found.to_json())
    show_plan(found)


@_verb(help="Draw a contact sheet with class names.")
def preview(
    folder: Folder,
    out: Picture,
    split: Annotated[str, typer.Option(help="Which split.")] = "train",
    per_class: Annotated[int, typer.Option(help="Faces of each class.")] = 8,
    seed: Annotated[int, typer.Option(help="Which faces.")] = 0,
) -> None:
    from ferdata.console.screen import console
    from ferdata.dataset.preview import preview as draw

    console.print(f"wrote {draw(folder, out, split=split, per_class=per_class, seed=seed)}")


@_verb(help="Get the samples out as plain tars or pictures.")
def export(
    folder: Folder,
    out: Out,
    to: Annotated[str, typer.Option(help="tar: plain WebDataset tars; folder: PNG class folders.")] = "tar",
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    from ferdata.console.screen import console, counting_bar
    from ferdata.dataset.export import export as write

    with counting_bar("exporting") as progress:
        report = write(folder, to=to, out=out, num_workers=workers, progress=progress)
    _write_json(json_file, report.to_json())
    console.print(f"{out}: {report.samples:,} samples in {report.files:,} files")


@_verb(help="Change the codec without going back to the images.")
def recode(
    folder: Folder,
    codec: Annotated[str, typer.Option(help="raw, zstd or compact.")],
    out: Out,
    level: Annotated[int | None, typer.Option(help="zstd level.")] = None,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    from ferdata.console.screen import console, counting_bar, size
    from ferdata.dataset.recode import recode as write
    from ferdata.format import CODECS

    if codec not in CODECS:  # the library says what to do where it cannot be made from pixels
        check_codec(codec, ["raw", "zstd", "compact"])
    with counting_bar("recoding") as progress:
        report = write(folder, out=out, codec=codec, level=level, num_workers=workers, progress=progress)
    _write_json(json_file, report.to_json())
    console.print(f"{out}: {report.samples:,} samples, {size(report.bytes_in)} -> {size(report.bytes_out)} ({codec})")


@_verb("bench-loader", help="Measure the loader beside the alternatives, with this machine's ceilings.")
def bench_loader(
    shards: Shards = None,
    workers: Annotated[int, typer.Option(help="Worker processes of every contender.")] = 8,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 128,
    against: Annotated[str, typer.Option(help="Contenders, comma-separated; usual, all or none.")] = "usual",
    size: Annotated[int, typer.Option(help="Side of the images where none are given.")] = 224,
    count: Annotated[int | None, typer.Option(help="How many images where none are given.")] = None,
    epochs: Annotated[int, typer.Option(help="Timed epochs of each, at least 3.", min=3)] = 3,
    cold: Annotated[bool, typer.Option(help="Read fresh copies that the page cache has been asked to forget.")] = False,
    sweep: Annotated[str, typer.Option(help="Axes to vary: workers, batch-size, codec; comma-separated.")] = "",
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    from ferdata.console.screen import console
    from ferdata.dataset.builtin import find_shards
    from ferdata_bench import BenchOptions, run_bench
    from ferdata_bench.loaders.report import print_result, save_plot

    found = find_shards(shards, say=_say)
    options = BenchOptions(
        shards=found,
        num_workers=workers,
        batch_size=batch_size,
        against=_names(against),
        image_size=size,
        count=count,
        epochs=epochs,
        cold=cold,
        sweep=_names(sweep),
    )
    result = run_bench(options, say=_say)
    _write_json(json_file, result.to_json())
    print_result(result)
    if plot is not None:
        for path in save_plot(result, Path(plot)):
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)


@_verb(help="Train a network on shards, and write a report of the run.")
def train(
    context: typer.Context,
    shards: Shards = None,
    model: Annotated[str | None, typer.Option(help="basic1, basic2, mod1, mod2, mod3, new1, mod4 or timm:<name>.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the train split.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples of one step, over all ranks.")] = None,
    accumulate: Annotated[int, typer.Option(help="Micro-batches that a batch is computed in.")] = 1,
    optimizer: Annotated[str, typer.Option(help="adam, adamw or sgd.")] = "adamw",
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Of SGD, or Adam's first beta.")] = None,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.01,
    schedule: Annotated[str, typer.Option(help="constant or cosine.")] = "cosine",
    warmup: Annotated[float, typer.Option(help="Share of the steps with a rising rate.")] = 0.05,
    loss: Annotated[str | None, typer.Option(help="mean or sum over a batch.")] = None,
    class_weights: Annotated[
        bool, typer.Option(help="Weigh each class's loss by the inverse of its frequency; sampling is then uniform.")
    ] = False,
    sampling: Annotated[str | None, typer.Option(help="uniform or balanced; balanced when left out, uniform with --class-weights.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Before the last layer.")] = None,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target spread over all classes.")] = 0.0,
    valence_arousal: Annotated[bool, typer.Option(help="Train a second head for valence and arousal.")] = False,
    augment: Annotated[str, typer.Option(help="Out of flip, crop and color; comma-separated; none for nothing.")] = "flip,crop",
    size: Annotated[int | None, typer.Option(help="Side to train at; the shards' own when left out.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Train on so many samples of train, the same in every epoch, each class with its share.")
    ] = None,
    amp: Annotated[str, typer.Option(help="off, bf16 or fp16.")] = "off",
    channels_last: Annotated[bool, typer.Option(help="Keep images channels-last.")] = False,
    compile_model: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    pretrained: Annotated[bool, typer.Option(help="Start a timm:<name> network with its published weights.")] = False,
    init_from: Annotated[str | None, typer.Option(help="A run whose weights to start with; labels are mapped by name.")] = None,
    freeze: Annotated[bool, typer.Option(help="Train the heads only.")] = False,
    resume: Annotated[
        str | None, typer.Option(help="A run to go on with, at the exact sample; auto: the newest unfinished one, if any.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    workers: Workers = None,
    assign: Annotated[str, typer.Option(help="What ranks read: rows of one process's batches, or windows of their own.")] = "rows",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")] = "auto",
    out: Annotated[str, typer.Option(help="Folder of runs.")] = "runs",
    name: Annotated[str | None, typer.Option(help="Of the run's folder.")] = None,
    json_file: Json = None,
) -> None:
    from ferdata.console.screen import console
    from ferdata.dataset.builtin import find_shards
    from model import FollowingError, RichProgress, TrainOptions, is_first_process
    from model import train as run
    from model.first_run import builtin_settings

    say = _say if is_first_process() else lambda text: None
    settings, typed = _train_settings(context)
    try:
        starts = resume in (None, "auto")
        if starts:
            settings["shards"] = find_shards(shards, say=say)
        if starts and settings["shards"] is None:
            built = builtin_settings(device, say=say)
            settings = settings | built.settings | {name: settings[name] for name in typed} | {"shards": built.shards}
        options = TrainOptions(**settings)
        with RichProgress() as progress:
            result = run(options, progress=progress, given=typed)
    except FollowingError:
        raise typer.Exit(1) from None  # the first rank tells
    if is_first_process():
        _write_json(json_file, result.to_json())
        console.print(result.describe(), markup=False, highlight=False, soft_wrap=True)


@_verb(help="Everything above on built-in synthetic faces, ending in a report with pictures.")
def demo(out: LocalOut = "demo") -> None:
    from ferdata_bench.demo import run_demo

    run_demo(Path(out))


def main() -> None:
    """Run the command line and leave with its exit code."""
    prefer_own()
    run_program(app)


def _train_settings(context: typer.Context) -> tuple[dict[str, Any], list[str]]:
    """Return the train command's options by their names in ``TrainOptions``, less those left to it, and the names that were typed."""
    renamed = {"workers": "num_workers", "compile_model": "compile"}
    names = {name: renamed.get(name, name) for name in context.params if name != "json_file"}
    settings = {names[name]: context.params[name] for name in names if context.params[name] is not None}
    settings["augment"] = tuple(part for part in _names(settings["augment"]) if part != "none")
    return settings, [names[name] for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]


def _say(text: str) -> None:
    from ferdata.console.screen import console

    console.print(text, style="dim", highlight=False)


if __name__ == "__main__":
    main()
