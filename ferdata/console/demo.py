"""``demo``: every command on built-in synthetic faces, ending in one page with pictures.

In: a folder. Out: a source tree, shards, a verification, figures, a training, ``report.html``. Four minutes on 2 cores.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

import ferdata
from ferdata.console.options import LocalOut
from ferdata.console.screen import console, ingest_bar, say, show_text, size
from ferdata.console.shard import show_ingest
from ferdata.errors import FerdataError, OptionError
from ferdata.parallel import usable_cores

__all__ = ["demo"]

SIZE = 224
TRAIN_SIZE = 80
FACES, QUICK_FACES = 4000, 200
EPOCHS, QUICK_EPOCHS = 4, 1
TEMPLATE = Path(__file__).with_name("demo.html")
PAGES = ("report.html", "sheet.png", "bench.png", "bench.svg")
"""What the demo makes again each time."""


def demo(
    place: LocalOut = "demo",
    quick: Annotated[
        bool, typer.Option("--quick", help="Show that everything works, with few faces; the figures mean nothing.")
    ] = False,
) -> None:
    """Run everything; what an earlier demo made in this folder is used again where it is finished."""
    from ferdata.synth import write_synthetic
    from ferdata.training import RichProgress, TrainOptions, train
    from ferdata.training.first_run import BUILTIN_SETTINGS
    from ferdata.training.report.render import render_page
    from ferdata_bench.loaders.harness import run_bench
    from ferdata_bench.loaders.options import BenchOptions
    from ferdata_bench.loaders.report import print_result, save_plot

    faces, epochs = (QUICK_FACES, QUICK_EPOCHS) if quick else (FACES, EPOCHS)
    out, begun = Path(place), time.perf_counter()
    workers = usable_cores()
    source, shards, small = out / "source", out / "shards", out / f"shards-{TRAIN_SIZE}"
    figures: list[tuple[str, str]] = []
    foreign = [name for name in PAGES if (out / name).exists() and not (source / "done.json").exists()]
    if foreign:
        raise OptionError(
            f"--out {out}: {foreign[0]} found, which no demo has written, "
            "expected a new folder or an earlier demo's; choose another"
        )

    with _step(f"1. draw {faces:,} synthetic faces in AffectNet's layout"):
        if not (source / "done.json").exists():
            drawn = write_synthetic("affectnet", str(source / "affectnet"), count=faces, size=SIZE)
            (source / "done.json").write_text(json.dumps({"images_per_second": drawn.images_per_second}) + "\n")
        rate = json.loads((source / "done.json").read_text())["images_per_second"]
        figures.append(("drawing", f"{rate:,.0f} images/s"))

    with _step("2. convert them to shards"):
        for folder, side in ((shards, SIZE), (small, TRAIN_SIZE)):
            with ingest_bar() as bar:
                options = ferdata.IngestOptions(
                    source="affectnet",
                    src=str(source / "affectnet"),
                    out=str(folder),
                    transform=ferdata.TransformOptions(size=side),
                )
                summary = ferdata.shard(options, progress=bar)
            if side == SIZE:
                show_ingest(summary)
                figures.append(
                    ("shards", f"{summary.accepted:,} samples, {size(summary.bytes_in)} -> {size(summary.bytes_out)}")
                )
                if summary.is_new:
                    figures.append(("ingest", f"{summary.images_per_second:,.0f} images/s"))

    with _step("3. verify every checksum and every sample"):
        report = ferdata.verify(str(shards), deep=True)
        if not report.ok:
            raise FerdataError(
                f"{shards}: {len(report.errors)} faults found, expected none; the first: {report.errors[0]}"
            )
        console.print(f"sound: {report.shards} shards, {report.samples:,} samples, every one decoded")
        figures.append(("verify --deep", f"{report.samples:,} samples sound"))

    with _step("4. draw a contact sheet"):
        console.print(f"wrote {ferdata.preview(str(shards), str(out / 'sheet.png'))}")

    with _step("5. measure the loader beside the usual ways"):
        how: dict[str, Any] = {"against": ("none",), "min_seconds": 0.05} if quick else {"against": ("usual",)}
        bench = run_bench(BenchOptions(shards=shards, num_workers=workers, **how), say=say)
        print_result(bench, console)
        save_plot(bench, out / "bench.png")
        ours = max((row for row in bench.rows if row.name.startswith("ferdata")), key=lambda row: row.images_per_second)
        figures.append(
            ("loader", f"{ours.images_per_second:,.0f} images/s ({ours.name}, {workers} workers, {SIZE} px)")
        )

    with _step(f"6. train a small network at {TRAIN_SIZE} px"):
        training = TrainOptions(shards=str(small), out=str(out / "runs"), **{**BUILTIN_SETTINGS, "epochs": epochs})
        with RichProgress() as progress:
            result = train(training, progress=progress)
        show_text(result.describe())
        chance = 1 / len(result.classes)
        best = result.accuracy[result.main_split]
        figures.append(
            (
                "training",
                f"{best:.1%} {result.main_split} accuracy (chance {chance:.1%}), "
                f"{result.images_per_second:,.0f} images/s",
            )
        )
        figures.append(("waiting for data", f"{result.data_wait_share:.1%} of the training time"))

    page = out / "report.html"
    run = Path(result.run)
    pictures = [
        ("The faces", out / "sheet.png"),
        ("The loader beside the usual ways", out / "bench.png"),
        ("Training", run / "curves.png"),
        ("Confusion on the validation split", run / "confusion.png"),
    ]
    text = render_page(
        TEMPLATE,
        title="ferdata demo",
        seconds=time.perf_counter() - begun,
        figures=dict(figures),
        pictures=[(title, path.read_bytes()) for title, path in pictures],
        run_page=(run / "report.html").relative_to(out).as_posix(),
    )
    page.write_text(text, encoding="utf-8")
    console.rule("done")
    for name, value in figures:
        console.print(Text(f"{name:18} ", style="bold").append(value, style="not bold"))
    console.print(f"\neverything, with pictures: {page}  (the run's own page: {run / 'report.html'})", highlight=False)


@contextmanager
def _step(title: str) -> Iterator[None]:
    console.rule(Text(title, style="bold"), align="left")
    start = time.perf_counter()
    yield
    console.print(f"{time.perf_counter() - start:.1f} s", style="dim", highlight=False)
