"""One section of the page for each measurement: its tables, and a sentence on what they mean.

In: the values of a JSON file. Out: Markdown lines. Sentences are computed from the figures, so they change with them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ferdata_bench.contenders import EXTRAS
from ferdata_bench.figures.first_day import first_day_section
from ferdata_bench.figures.markdown import generic, megabytes, percent, rate, table
from ferdata_bench.loaders.options import BenchResult
from ferdata_bench.studies.front import TOLERANCE

__all__ = ["SECTIONS", "bench_command", "guard_section"]

Values = Mapping[str, Any]
SCALE_TOLERANCE, START_SECONDS = 0.1, 1.0


def bars_section(values: Values) -> list[str]:
    """Show the loader's fraction of the lower ceiling and its lead over a plain ``DataLoader``, beside the goals."""
    lines: list[str] = []
    for each in values["sets"]:
        ratios = {ratio["codec"]: ratio for ratio in each["ratios"]}
        rows = []
        for row in each["rows"]:
            ratio, ceilings = ratios.get(row["codec"]), row["ceilings"]
            lead = (
                [rate(ratio["plain"]["images_per_second"]), f"{ratio['ratio']:.1f}", _asked(ratio["bar"])]
                if ratio
                else ["", "", ""]
            )
            shown = [_ceiling(ceilings.get(kind)) for kind in ("copy", "decode")]
            share = [f"{row['fraction']:.2f}", _asked(row["bar"])]
            rows.append([row["codec"], rate(row["images_per_second"]), percent(row["spread"]), *shown, *share, *lead])
        head = "codec | loader, images/s | spread | copy ceiling | decode ceiling | of the lower | goal"
        lines += [
            f"{each['images']:,} photographs of {each['size']} px, {each['bytes_per_image']:,} bytes of pixels each:",
            "",
        ]
        lines += [*table(f"{head} | plain DataLoader | times | goal", rows), "", _bars_sentence(each), ""]
    return lines


def _ceiling(found: Values | None) -> str:
    return f"{rate(found['images_per_second'])} ({found['way']})" if found else ""


def _bars_sentence(each: Values) -> str:
    reached = {row["codec"]: row["fraction"] >= row["bar"] for row in each["rows"]}
    reached |= {f"{row['codec']} over plain": row["ratio"] >= row["bar"] for row in each["ratios"] if row["bar"]}
    missed = [name for name, ok in reached.items() if not ok]
    fractions = [row["fraction"] for row in each["rows"]]
    verdict = "every goal is reached" if not missed else f"the goal is **not reached** for {', '.join(missed)}"
    return (
        f"At {each['size']} px {min(fractions):.2f} to {max(fractions):.2f} of the best that the machine could do "
        f"arrives in the training loop; {verdict}."
    )


def bench_section(values: Values) -> list[str]:
    """Every contender with everything that published tables leave out."""
    result = BenchResult.from_json(dict(values))
    rows = [
        [
            *(row.name, row.codec, rate(row.images_per_second), percent(row.spread)),
            "" if row.fraction_of_ceiling is None else f"{row.fraction_of_ceiling:.2f}",
            *(f"{row.cpu_seconds_per_image * 1e6:,.0f}", rate(row.bytes_per_image)),
            *(megabytes(row.peak_memory_bytes), megabytes(row.peak_private_bytes), f"{row.first_batch_seconds:.2f}"),
            *("" if row.ingest_seconds is None else f"{row.ingest_seconds:.1f}", row.shuffle, row.version or ""),
        ]
        for row in result.rows
        if row.sweep is None
    ]
    head = "contender | codec | images/s | spread | of its ceiling | CPU µs/image | bytes/image | peak MB | private MB"
    head += " | first batch s | ingest s | shuffle | version"
    ceilings = {"copy": result.ceilings["copy"], "cold disk": result.ceilings["disk"]}
    ceilings |= {f"decode {codec}": found for codec, found in result.ceilings["decode_by_codec"].items()}
    named = ", ".join(f"{name} {rate(found)}" for name, found in ceilings.items() if found)
    lines = [*table(head, rows, text_columns=2), ""]
    lines += [f"Ceilings, images/s: {named}.", "", result.limit]
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return lines


def rivals_section(values: Values) -> list[str]:
    """Images per second of each contender by its number of workers."""
    result = BenchResult.from_json(dict(values))
    rates = {(row.name, row.workers): row for row in result.rows if row.sweep in (None, "workers")}
    counts = sorted({workers for _, workers in rates})
    names = sorted({name for name, _ in rates}, key=lambda name: -rates[name, counts[-1]].images_per_second)
    rows = [[name, *(rate(rates[name, count].images_per_second) for count in counts)] for name in names]
    head = " | ".join(["contender", *(f"{count} worker{'s' if count > 1 else ''}" for count in counts)])
    lines = [*table(head, rows, text_columns=1), "", f"Copy ceiling: {rate(result.ceilings['copy'])} images/s."]
    ahead = [count for count in counts if _speed(rates, "ffcv-jpg", count) > _speed(rates, "ferdata-jpeg", count)]
    if ahead:
        at = " and ".join(f"{count}" for count in ahead)
        lines[-1] += f" FFCV's jpg, whose cosine transform is inexact, is ahead of our exact one; workers: {at}."
    return [*lines, "", *(f"- {note}" for note in result.notes)]


def _speed(rates: Mapping[tuple[str, int], Any], name: str, workers: int) -> float:
    row = rates.get((name, workers))
    return 0.0 if row is None else float(row.images_per_second)


def bench_command(values: Values) -> str:
    """Return the command that a ``bench-loader`` file was made with, from its conditions."""
    conditions = values["conditions"]
    others = [row["name"] for row in values["rows"] if not row["name"].startswith("ferdata-")]
    extras = not {entry.name for entry in EXTRAS}.isdisjoint(others)
    missing = any("left out" in note for note in values["notes"])
    against = "all" if extras or missing else "usual" if len(others) > 1 else ",".join(others) or "none"
    side = conditions["image"].rpartition(" ")[2].rstrip("]")
    settings = {"size": side, "count": conditions["images"], "workers": conditions["workers"]}
    settings |= {"batch-size": conditions["batch_size"], "epochs": conditions["epochs"]}
    settings |= {"against": against, "sweep": ",".join(conditions["sweep"])}
    return " ".join(
        ["python cli.py bench-loader", *(f"--{name} {value}" for name, value in settings.items() if value != "")]
    )


def scale_section(values: Values) -> list[str]:
    """Speed, start-up and memory by the number of images."""
    rows = [
        [
            *(row["codec"], f"{row['images']:,}", rate(row["images_per_second"]), percent(row["spread"])),
            *(f"{row['relative']:.2f}", f"{row['first_batch_seconds']:.2f}", f"{row['first_batch_again_seconds']:.2f}"),
            *(megabytes(row["after"][name]) for name in ("own_bytes", "rss_bytes", "pss_bytes", "tree_pss_bytes")),
        ]
        for row in values["rows"]
    ]
    head = "codec | images | images/s | spread | to the smallest | first batch s | again s"
    head += " | main: own MB | RSS MB | PSS MB | tree PSS MB"
    return [*table(head, rows), "", *_scale_sentences(values["rows"])]


def _scale_sentences(rows: list[dict[str, Any]]) -> list[str]:
    sentences = []
    for codec in dict.fromkeys(row["codec"] for row in rows):
        of = [row for row in rows if row["codec"] == codec]
        least, most = of[0], of[-1]
        drift = max(abs(row["relative"] - 1) for row in of)
        grown = (most["after"]["own_bytes"] - least["after"]["own_bytes"]) / max(1, most["images"] - least["images"])
        start = max(row["first_batch_seconds"] for row in of)
        sentences.append(
            f"`{codec}`: from {least['images']:,} to {most['images']:,} images the speed stays within {drift:.0%} of "
            f"the smallest set's ({'as' if drift <= SCALE_TOLERANCE else 'not as'} asked: 10 %), the first batch "
            f"arrives after at most {start:.2f} s ({'as' if start < START_SECONDS else 'not as'} asked: 1 s), and the "
            f"main process's own memory grows by {grown:,.0f} bytes per image "
            "(its row of the sample table is 8 bytes, and each array of an epoch's order 8 more)."
        )
    return sentences


def ingest_section(values: Values) -> list[str]:
    """Show the rate of ``shard`` as a fraction of the limit, and its memory."""
    workers = values["conditions"]["workers"]
    ways = {
        f"`shard`, {workers} workers, scan included": "ingest",
        "the same without the scan": "ingest_without_scan",
        "bare Pillow + zstd, one core": "bare_one_core",
        f"bare Pillow + zstd, {workers} processes at once": "bare_all_workers",
    }
    rows = [
        [way, rate(values[name]["images_per_second"]), percent(values[name]["spread"])] for way, name in ways.items()
    ]
    memory = [[f"{row['images']:,}", megabytes(row["peak_pss_bytes"])] for row in values["memory"]]
    most, bound = max(row["peak_pss_bytes"] for row in values["memory"]), values["memory_bar_bytes"]
    grown = values["memory"][-1]["peak_pss_bytes"] / values["memory"][0]["peak_pss_bytes"] - 1
    parts, bare = values["fraction_runs"], values["bare_one_core"]["runs"]
    return [
        *table("way | images/s | spread", rows),
        "",
        f"`shard` reaches {values['fraction']:.2f} of {workers} x the bare rate of one core, "
        f"{_as(values['fraction'] >= values['bar'])} asked ({values['bar']}): "
        f"the median of {len(parts)} rounds, from {min(parts):.2f} to {max(parts):.2f}. "
        "Most of that range is the bare loop's: each of its processes is born slow or fast "
        f"({rate(min(bare))} or {rate(max(bare))} images/s) and stays so, whatever runs beside it; "
        "every round has its own processes.",
        "",
        *table("images | peak PSS of all processes, MB", memory),
        "",
        f"Memory: at most {megabytes(most)} MB "
        f"({_as(most < bound)} asked: under {megabytes(bound)} MB), and "
        f"{grown:+.0%} for {values['memory'][-1]['images'] / values['memory'][0]['images']:.0f} times the images.",
    ]


def pipeline_section(values: Values) -> list[str]:
    """Each command over the same images."""
    count, verbs = values["conditions"]["images"], values["rows"]
    rows = [
        [
            *(f"`{row['verb']}`", f"{row['seconds']:,.1f}", rate(row["images_per_second"])),
            *(megabytes(row["bytes"]), rate(row["bytes"] / count), megabytes(row["peak_pss_bytes"])),
        ]
        for row in verbs
    ]
    total = sum(row["seconds"] for row in verbs)
    return [
        *table("command | seconds | images/s | MB on disk | bytes/image | peak MB", rows),
        "",
        f"Together they take {total:,.0f} s for {count:,} images, including Python's start; "
        "every sample was decoded and checked.",
    ]


def study_section(values: Values) -> list[str]:
    """Show every way's ratio and speed, and what other filters would make of the same photographs."""
    sets = list(dict.fromkeys((row["size"], row["kind"]) for row in values["rows"]))
    cells: dict[tuple[str, str], dict[tuple[int, str], str]] = {}
    for row in sorted(values["rows"], key=lambda row: row["ratio"]):
        cell = f"{row['ratio']:.2f} / {rate(row['mb_per_second'])}"
        here = cells.setdefault((row["name"], row["library"]), {})
        here[row["size"], row["kind"]] = f"**{cell}**" if row["front_gap"] <= TOLERANCE else cell
    names = [f"{size} px, {kind}" for size, kind in sets]
    lines = [
        "Times smaller than the pixels / MB/s of pixels decoded by one core, image by image; **bold**: nothing as "
        "small is clearly faster. *JPEG*: photographs that were JPEG files before; *pristine*: the same before that.",
        "",
        *table(
            " | ".join(["way", "library", *names]),
            [[*way, *(here.get(each, "") for each in sets)] for way, here in cells.items()],
        ),
    ]
    lines += ["", *values["missing"], *([""] if values["missing"] else [])]
    tried = [
        [
            row["name"],
            *(f"{ratio:.2f} ({ratio / ours - 1:+.1%})" for ratio, ours in _beside(row, values)),
            row["verdict"],
        ]
        for row in values["filters"]
    ]
    return [
        *lines,
        "What would make `compact` smaller? Computed sizes, no speed:",
        "",
        *table(" | ".join(["filter", *names, "verdict"]), tried),
    ]


def _beside(row: Values, values: Values) -> list[tuple[float, float]]:
    """Return the ratios of a filter beside those of the first, which is the one in use."""
    return list(zip(row["ratios"], values["filters"][0]["ratios"], strict=True))


def shuffle_section(values: Values) -> list[str]:
    """Every way to shuffle next to a true permutation, and what the columns mean."""
    rows = [
        [
            *(row["way"], row["stored"], str(row["run_samples"] or ""), f"{row['neighbour_median']:.1%}"),
            *(f"{row['neighbours_in_batch']:.2%}", f"{row['together_again']:.3%}"),
            *(f"{row['label_run_mean']:.2f}", f"{row['label_run_longest']:,}", f"{row['batch_balance']:.2f}"),
        ]
        for row in values["ways"]
    ]
    head = "way | stored | run | median distance | neighbours in a batch | together again"
    head += " | label run | longest | balance"
    return [
        *table(head, rows, text_columns=2),
        "",
        f"{values['samples']:,} samples in {values['shards']:,} shards. *Median distance*: of two samples that are "
        "neighbours in a shard, as a fraction of the epoch. *Neighbours in a batch*: fraction of neighbours that meet "
        "in one. *Together again*: fraction of the pairs of a batch that meet in the next epoch's too. *Label run*: "
        "mean length of a run of one label, and the longest. *Balance*: variance of a class's count in a batch over "
        "that of a permutation; 1 by chance. Ingest stores samples permuted, so windows only keep neighbours near each "
        "other; a set stored by class shows what they would do otherwise.",
    ]


def plan_section(values: Values) -> list[str]:
    """Prediction and measurement for each codec and number of workers, and the recommendation."""
    checked = [
        [row["codec"], str(row["workers"]), rate(row["predicted"]), rate(row["measured"]), f"{row['error']:+.0%}"]
        for row in values["rows"]
    ]
    worst = max(abs(row["error"]) for row in values["rows"])
    predicted = values["plan"]
    rows = [
        [
            *(row["codec"], str(row["workers"]), megabytes(row["num_bytes"])),
            *(rate(row["warm"]), rate(row["cold"]), rate(row["steady"]), row["limit"]),
        ]
        for row in predicted["rows"]
    ]
    head = "codec | workers | MB | warm images/s | cold images/s | every later epoch | limit"
    return [
        *table("codec | workers | predicted, images/s | measured | off by", checked),
        "",
        f"The predictions are at most {worst:.0%} off, {_as(worst <= values['tolerance'])} asked "
        f"({values['tolerance']:.0%}), and the recommended choice is {'' if values['is_right'] else '**not** '}"
        "as fast as any that was measured, within 10%.",
        "",
        *table(head, rows),
        "",
        predicted["recommendation"]["sentence"],
    ]


def train_section(values: Values) -> list[str]:
    """Accuracy by split, and the fraction of the time spent waiting."""
    rows = [[split, f"{accuracy:.3f}"] for split, accuracy in values["accuracy"].items()]
    return [
        *table("split | accuracy", rows),
        "",
        f"`{values['model']}` ({values['parameters']:,} parameters) trained {values['epochs']} epochs at "
        f"{rate(values['images_per_second'])} images/s and spent {values['data_wait_share']:.1%} of the time "
        "waiting for data.",
    ]


def guard_section(values: Values) -> list[str]:
    """Show what ``make bench-check`` compares with."""
    rows = [[name, f"{ratio:.3f}"] for name, ratio in values["ratios"].items()]
    return [
        *table("case | time / yardstick", rows),
        "",
        "Each case's time over that of bare work in the same run; "
        "`make bench-check` fails if a case has lost 20 % of its speed.",
    ]


def _as(held: bool) -> str:
    return "as" if held else "**not** as"


def _asked(bar: float | None) -> str:
    return "" if bar is None else f"{bar:g}"


SECTIONS: dict[str, Callable[[Values], list[str]]] = {
    "bars": bars_section,
    "bench-224": bench_section,
    "bench-100": bench_section,
    "rivals-224": rivals_section,
    "rivals-100": rivals_section,
    "scale": scale_section,
    "ingest": ingest_section,
    "pipeline": pipeline_section,
    "first-day": first_day_section,
    "study": study_section,
    "plan": plan_section,
    "plan-tight": plan_section,
    "train": train_section,
    "shuffle": shuffle_section,
    "wait": generic,
    "gpu": generic,
}
