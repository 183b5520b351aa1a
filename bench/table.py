"""What a run found, as the table of goals and as a waterfall of text.

The table is Markdown, so that it can be copied as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "–"
LABELS = {
    "stopped": "silence detected",
    "words": "final transcript",
    "decided": "end of turn",
    "first_token": "first token",
    "first_clause": "first clause",
    "first_sound": "first audio made",
    "heard": "first audio heard",
}
WIDTH = 56  # characters of the longest bar

Found = Mapping[str, Any]  # what one code gave: part to its summary


@dataclass(frozen=True)
class Row:
    """`cell` gives the text of a result, or raises KeyError when the part was not run."""

    what: str
    least: str
    aim: str
    cell: Callable[[Found], str]


def times(*path: str) -> Callable[[Found], str]:
    def cell(found: Found) -> str:
        value = at(found, *path)
        return (
            f"{value['p50']:.0f} / {value['p95']:.0f} ms (n {value['n']:.0f})"
            if value["n"]
            else NOTHING
        )

    return cell


def share(*path: str) -> Callable[[Found], str]:
    def cell(found: Found) -> str:
        value = at(found, *path)
        return f"{value['share']:.1%} ({value['count']} of {value['n']})" if value["n"] else NOTHING

    return cell


def errors(kind: str) -> Callable[[Found], str]:
    def cell(found: Found) -> str:
        value = at(found, "words", kind)
        return (
            f"{value['all']['wer']:.2%} (books {_wer(value['books'])}, others "
            f"{_wer(value['others'])})"
        )

    return cell


def _wer(value: Mapping[str, Any]) -> str:
    return f"{value['wer']:.1%}" if value["words"] else NOTHING


def failed(found: Found) -> str:
    """Of all that was asked of this code, what gave no figure."""
    lists = [value["failures"] for value in _summaries(found)]
    return str(sum(len(one) for one in lists)) if lists else NOTHING


def failures(found: Found) -> list[str]:
    return [text for value in _summaries(found) for text in value["failures"]]


def _summaries(found: Found) -> list[Mapping[str, Any]]:
    below = [
        value
        for part in found.values()
        if isinstance(part, Mapping)
        for value in (part, *part.values())
    ]
    return [value for value in below if isinstance(value, Mapping) and "failures" in value]


def at(found: Found, *path: str) -> Any:
    for key in path:
        found = found[key]
    return found


ROWS = (
    Row(
        "voice to voice, one caller, default models",
        "600 / 1000 ms",
        "400 / 700 ms",
        times("voice", "1", "first sound"),
    ),
    Row("voice to voice, two callers", "", "", times("voice", "2", "first sound")),
    Row("voice to voice, four callers", "", "", times("voice", "4", "first sound")),
    Row(
        "voice to voice, eight callers",
        "p95 1500 ms",
        "p95 900 ms",
        times("voice", "8", "first sound"),
    ),
    Row("voice to voice, sixteen callers", "", "", times("voice", "16", "first sound")),
    Row(
        "voice to voice, one caller, tiny.en + SmolLM2 + Piper",
        "450 / 750 ms",
        "300 / 500 ms",
        times("comparison", "1", "first sound"),
    ),
    Row("overlap: playback is paused", "p95 200 ms", "p95 120 ms", times("barge-in", "hold")),
    Row("overlap: silent, in a player that ignores events", "", "", times("barge-in", "silent")),
    Row(
        "overlap: silent, over Realtime", "p95 200 ms", "", times("barge-in", "realtime", "silent")
    ),
    Row("overlap: `interrupted`", "", "", times("barge-in", "interrupted")),
    Row("turns cut off too early", "5 %", "2 %", share("cut-off", "cut off")),
    Row("false interruptions that end the reply", "5 %", "1 %", share("killed", "killed")),
    Row("of them: by backchannels", "", "", share("killed", "kinds", "backchannel", "killed")),
    Row("of them: by coughs", "", "", share("killed", "kinds", "cough", "killed")),
    Row("of them: by laughs", "", "", share("killed", "kinds", "laugh", "killed")),
    Row("of them: by the reply's own echo", "", "", share("killed", "echo", "killed")),
    Row("length of the pause for a false interruption", "", "", times("killed", "held needlessly")),
    Row(
        "final transcript after the end of speech",
        "median 350 ms",
        "200 ms",
        times("voice", "1", "final"),
    ),
    Row("end of turn decided (`turn` event)", "", "", times("voice", "1", "turn")),
    Row("last change of the words on the screen", "", "", times("voice", "1", "settled")),
    Row(
        "interim transcript after each word",
        "median 600 ms",
        "400 ms",
        times("voice", "1", "partial words"),
    ),
    Row("interim transcript in long readings", "", "", times("cut-off", "partial words")),
    Row("word error rate: plain 30 s pass", "", "", errors("plain")),
    Row("word error rate: captions", "plain + 0.5", "", errors("captions")),
    Row("word error rate: turns of a conversation", "plain + 0.5", "", errors("conversation")),
    Row(
        "word error rate: replies, transcribed again",
        "",
        "",
        lambda found: _wer(found["read-back"]),
    ),
    Row("without a figure (named below)", "0", "0", failed),
)


def rendered(codes: Mapping[str, Found]) -> str:
    """`codes`: "before" and "now", or one of them, to what they gave.

    Rows without any figure are left out.
    """
    head = ["what (median / 95th percentile)", "at least", "aim", *codes]
    lines = [
        [row.what, row.least, row.aim, *(_cell(row, found) for found in codes.values())]
        for row in ROWS
    ]
    return markdown([head, *(line for line in lines if set(line[3:]) != {NOTHING})])


def _cell(row: Row, found: Found) -> str:
    try:
        return row.cell(found)
    except KeyError:
        return NOTHING


def markdown(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join(
        [rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]]
    )


# --- where the time goes ------------------------------------------------------------------------


def waterfall(stages: Mapping[str, Mapping[str, float]]) -> str:
    """Each stage's median after the end of speech.

    A bar is what the stage added; ◆ = it was done ahead of the one before.
    """
    found = [(LABELS[name], stages[name]["p50"]) for name in LABELS if name in stages]
    if not found:
        return "the server reported no stages"
    least = min(0.0, *(ms for _, ms in found))
    scale = WIDTH / max(1.0, max(ms for _, ms in found) - least)
    lines, reached = [], least if least < 0 else 0.0
    for label, ms in found:
        begin, end = round((reached - least) * scale), round((ms - least) * scale)
        bar = " " * begin + "█" * max(1, end - begin) if ms >= reached else " " * end + "◆"
        lines.append(f"{label:18}{bar:{WIDTH + 2}}{ms:6.0f} ms")
        reached = max(reached, ms)
    return "\n".join(lines)


def mechanisms(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What shows each mechanism, with it switched off.

    `found`: "part: title" to what that gave; in each part everything is on first.
    """
    head = ["part", "case", "figure", "median against everything"]
    lines: list[list[str]] = []
    base: dict[str, float] = {}
    for name, of in found.items():
        part, _, title = name.partition(": ")
        sound = of.get("first sound", {"n": 0})
        if sound["n"]:
            base.setdefault(part, sound["p50"])
            figure = (
                f"{sound['p50']:.0f} / {sound['p95']:.0f} ms, {of['reused']} of {sound['n']} "
                "generated ahead"
            )
            lines.append([part, title, figure, f"{sound['p50'] - base[part]:+.0f} ms"])
        else:
            rate = of.get("killed") or of.get("cut off") or {"count": 0, "n": 0}
            lines.append(
                [part, title, f"{rate['count']} of {rate['n']}" if rate["n"] else NOTHING, NOTHING]
            )
    return markdown([head, *lines])
