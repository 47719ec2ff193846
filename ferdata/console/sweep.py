"""``sweep``: train many runs over varied settings, and compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferdata.console.options import Given, Json, Shards, write_json
from ferdata.console.screen import counting_bar, say, show_text
from ferdata.parallel import ENGINES
from ferdata.training import TrainOptions

if TYPE_CHECKING:
    from ferdata.training.sweep.result import Finished

__all__ = ["sweep"]


def sweep(
    asked: Given[TrainOptions],
    spec: Annotated[
        str | None,
        typer.Argument(help="A TOML file, or a sweep that comes with ferdata.", metavar="[SPEC]", show_default=False),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Vary a setting of train over values (lr=1e-3,1e-4), or search in a range (dropout=0..0.7, "
            "lr=1e-5..1e-2:log); may be given several times.",
            metavar="NAME=VALUES",
            show_default="what the file says",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Train each combination with so many seeds.", min=1, show_default="one")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Try so many combinations of a search.", min=1, show_default="a grid: all")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Train so many runs at once.", min=1, show_default="one a GPU, or one")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENGINES),
            help="Train in processes here, or on a Ray cluster (RAY_ADDRESS, or one on this machine).",
        ),
    ] = "local",
    shards: Shards = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Write everything to this folder.")] = "sweeps/sweep",
    json_file: Json = None,
) -> None:
    """Train what is missing, write and print."""
    from ferdata.dataset.builtin import find_shards
    from ferdata.training.first_run import builtin_settings
    from ferdata.training.sweep.spec import read_spec
    from ferdata.training.sweep.sweep import sweep as run
    from ferdata.training.sweep.write import PAGE_NAME, shown

    typed = {name: asked.values[name] for name in asked.typed if name in asked.values}
    found = find_shards(shards, say=say)
    if found is None:
        built = builtin_settings(asked.values["device"], say=say)
        typed = {**({"shards": built["shards"]} if spec is not None else built), **typed}
    plan = read_spec(spec, vary=vary or (), seeds=seeds, trials=trials, train={"shards": found, **typed})
    with counting_bar("training") as progress:

        def tell(finished: "Finished | None", done: int, total: int) -> None:
            progress(done, total)
            if finished is not None:
                came = f"failed: {finished.problem}" if finished.accuracy is None else f"{finished.accuracy:.1%}"
                line = f"{done}/{total} {shown(finished.settings)}, seed {finished.seed}: {came}"
                show_text(line)

        result = run(plan, out, jobs=jobs, engine=engine, on_run=tell)
    write_json(json_file, result.to_json())
    best = result.groups[0]
    spread = f" (standard deviation {best.spread:.1%})" if len(best.runs) > 1 else ""
    show_text(f"best: {shown(best.settings)}: {best.mean:.1%}{spread}\nreport: {Path(out) / PAGE_NAME}")
