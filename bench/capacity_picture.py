"""bench/capacity.py as a picture: predicted beside measured, and waits against callers by cores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.growth import CORES
from bench.picture import GRID, INK
from bench.queueing.parameters import Parameters
from bench.queueing.prediction import predict
from whisperfusion.call.admission import ACTIVE_PER_CORE

MEASURED, PREDICTED = "#9aa5b1", "#1f6feb"
BY_CORES = ("#1f6feb", "#1a7f37", "#bf8700", "#57606a")
SHARES = (0.25, 0.5, 1.0, 1.5, 2.0)  # of the callers that are admitted
RUNS, MOST_S = 2, 4.0


def draw(found: Mapping[str, Any], parameters: Parameters, path: Path) -> None:
    """`found` is the file that bench/capacity.py keeps. Raises OSError when the picture cannot be
    written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (checked, grown) = pyplot.subplots(
        1, 2, figsize=(11, 4.3), facecolor="white", width_ratios=(1, 1.15)
    )
    _checked(checked, found.get("measured", {}), found.get("predicted", {}))
    _grown(grown, parameters)
    for axes in (checked, grown):
        axes.yaxis.grid(True, color=GRID)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    figure.tight_layout(pad=1.4, w_pad=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="white")
    pyplot.close(figure)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _checked(axes: Any, measured: Mapping[str, Any], predicted: Mapping[str, Any]) -> None:
    """For each level two bars, the median, with a line to the 95th percentile."""
    levels = sorted(measured, key=int)
    for place, level in enumerate(levels):
        one, two = measured[level], predicted.get(level, {}).get("fitted")
        bars = [(place - 0.2, one, MEASURED, "measured")]
        bars += [(place + 0.2, two, PREDICTED, "predicted")] if two else []
        for x, values, colour, label in bars:
            axes.bar(x, values["p50"], 0.36, color=colour, label="" if place else label)
            axes.plot([x, x], [values["p50"], values["p95"]], color=INK, linewidth=1.2)
            axes.text(
                x, values["p95"], f"{values['p50']:.2f}", ha="center", va="bottom", fontsize=8
            )
    axes.set_xticks(range(len(levels)), levels)
    axes.set_xlabel("callers taking turns at once, 2 cores")
    axes.set_title(
        "last word → first sound heard, seconds\n(bar: median; line: to the 95th percentile)",
        fontsize=10,
        loc="left",
    )


def _grown(axes: Any, parameters: Parameters) -> None:
    """Medians as lines, 95th percentiles as thin ones; a mark where the server admits no more."""
    for cores, colour in zip(CORES, BY_CORES, strict=True):
        one, admitted = parameters.on(cores), ACTIVE_PER_CORE * cores
        callers = sorted({max(1, round(share * admitted)) for share in SHARES})
        waits = [
            predict(one, count, max(4, count // 8), runs=RUNS, admits=False) for count in callers
        ]
        axes.plot(callers, [each.p50 for each in waits], color=colour, label=f"{cores} cores")
        axes.plot(callers, [each.p95 for each in waits], color=colour, linewidth=0.8, linestyle=":")
        at = [each.p50 for each in waits if each.callers == admitted]
        axes.plot([admitted], at, marker="D", color=colour)
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(8)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(0, MOST_S)
    axes.set_xlabel("callers taking turns at once")
    axes.set_title(
        "predicted without admission, seconds (line: median; dots: 95th\n"
        "percentile; ◆: callers that are admitted, 4 a core)",
        fontsize=10,
        loc="left",
    )
