"""A run as a picture: how long callers wait, and where the time goes.

    python bench/picture.py bench/out/run-….json docs/bench.png

It has a white ground of its own, so that it can be read on a white and on a dark page. matplotlib
is in requirements-bench.txt.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.table import LABELS

COLOURS = ("#9aa5b1", "#1f6feb")  # before, now
ALONE = ("#1f6feb",)
MOST_BYTES = 150_000
CURVES = {  # of bench/endpointing.py: colour and line
    "ours": ("#1f6feb", "o-"),
    "ours, without both heads": ("#9aa5b1", "o-"),
    "fixed silence": ("#57606a", "--"),
    "Smart Turn, Pipecat's way": ("#bf8700", "s:"),
    "Smart Turn, LiveKit's delays": ("#1a7f37", "^:"),
}
INK, GRID = "#24292f", "#e3e7ec"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Raises OSError when the picture cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.edgecolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.fonttype": "none",
        }
    )
    codes = {name: found for name, found in result["codes"].items() if found.get("voice")}
    if not codes:
        raise ValueError("this run has no part `voice`, so there is nothing to draw")
    figure, (waits, stages) = pyplot.subplots(
        1, 2, figsize=(11, 4.3), facecolor="white", width_ratios=(1, 1.15)
    )
    colours = dict(zip(codes, COLOURS if len(codes) > 1 else ALONE, strict=True))
    _waits(waits, codes, colours)
    _stages(stages, codes, colours)
    figure.tight_layout(pad=1.4, w_pad=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="white")
    pyplot.close(figure)
    size = path.stat().st_size
    print(
        f"{path}: {size / 1000:.0f} kB{' (TOO LARGE FOR THE README)' if size > MOST_BYTES else ''}"
    )


def draw_endpointing(result: Mapping[str, Any], path: Path) -> None:
    """The curves of bench/endpointing.py: turns cut off against the mean wait."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.6), facecolor="white")
    for name, (colour, marker) in CURVES.items():
        points = sorted(result["curves"][name]["points"], key=lambda one: one["mean_s"])
        waits = [one["mean_s"] for one in points]
        cuts = [100 * one["cut"] for one in points]
        axes.plot(waits, cuts, marker, color=colour, label=name, markersize=4, linewidth=1.8)
    axes.set_xlim(0.3, 2.0)
    axes.set_ylim(0, 50)
    axes.set_xlabel("mean wait after the end of a turn, seconds")
    axes.set_ylabel("turns cut off, %")
    axes.grid(color=GRID)
    axes.legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="white")
    pyplot.close(figure)


def _waits(axes: Any, codes: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    """For each number of callers: the median as a bar, from it to the 95th percentile a line."""
    levels = sorted(
        {int(key) for found in codes.values() for key in found["voice"] if key.isdigit()}
    )
    wide = 0.8 / len(codes)
    for number, (name, found) in enumerate(codes.items()):
        for place, level in enumerate(levels):
            sound = found["voice"].get(str(level), {}).get("first sound", {"n": 0})
            if not sound["n"]:
                continue
            x = place + (number - (len(codes) - 1) / 2) * wide
            axes.bar(
                x,
                sound["p50"] / 1000,
                wide * 0.9,
                color=colours[name],
                label=name if place == 0 else None,
            )
            axes.plot([x, x], [sound["p50"] / 1000, sound["p95"] / 1000], color=INK, linewidth=1.2)
            axes.plot(
                [x - wide / 5, x + wide / 5], [sound["p95"] / 1000] * 2, color=INK, linewidth=1.2
            )
            axes.text(
                x,
                sound["p95"] / 1000,
                f"{sound['p50'] / 1000:.2f}",
                ha="center",
                va="bottom",
                fontsize=8,
            )
    axes.set_xticks(range(len(levels)), [str(level) for level in levels])
    axes.set_xlabel("callers taking turns at once")
    axes.set_title(
        (
            "last word → first sound heard, seconds\n(bar, figure: median; line: to the 95th "
            "percentile)"
        ),
        fontsize=10,
        loc="left",
    )
    axes.yaxis.grid(True, color=GRID)
    axes.set_axisbelow(True)
    if len(codes) > 1:
        axes.legend(frameon=False, loc="upper left")


def _stages(axes: Any, codes: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    """One caller: each stage as a bar from the one before it to its own median; a point when it
    was done ahead of that.
    """
    told = {name: found["voice"].get("1", {}).get("stages", {}) for name, found in codes.items()}
    rows = [stage for stage in LABELS if any(stage in stages for stages in told.values())]
    high = 0.8 / len(codes)
    for number, (name, stages) in enumerate(told.items()):
        reached = 0.0
        for place, stage in enumerate(rows):
            if stage not in stages:
                continue
            y, ms = place + (number - (len(codes) - 1) / 2) * high, stages[stage]["p50"]
            if ms >= reached:
                axes.barh(y, max(ms - reached, 4), high * 0.85, left=reached, color=colours[name])
            else:
                axes.plot(ms, y, marker="D", color=colours[name])
            axes.annotate(
                f"{ms:.0f}", (ms, y), (6, 0), textcoords="offset points", va="center", fontsize=8
            )
            reached = max(reached, ms)
    axes.set_yticks(range(len(rows)), [LABELS[stage] for stage in rows])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.xaxis.grid(True, color=GRID)
    axes.set_axisbelow(True)
    axes.set_title(
        "one caller: ms after the last word\n(medians; ◆: done ahead of the one above)",
        fontsize=10,
        loc="left",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("run", type=Path, help="what bench/run.py has written")
    parser.add_argument("picture", type=Path, help="the PNG to make")
    chosen = parser.parse_args()
    draw(json.loads(chosen.run.read_text(encoding="utf-8")), chosen.picture)


if __name__ == "__main__":
    main()
