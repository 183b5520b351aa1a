"""`whisperfusion models [list|fetch|verify|remove] [ID ...]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whisperfusion.agents import Agents
from whisperfusion.errors import ModelError
from whisperfusion.models.catalog import ALIASES, MODELS
from whisperfusion.models.model import Model
from whisperfusion.models.repacking import fastest
from whisperfusion.models.store import (
    fetch,
    fetch_small_asr,
    further_voices,
    needed,
    path_of,
    recorded_files,
    remove,
    resolve,
    verify,
)
from whisperfusion.paths import COMMAND
from whisperfusion.settings import Settings

ACTIONS = ("list", "fetch", "verify", "remove")


def command(action: str, names: Sequence[str], settings: Settings) -> int:
    """`models [list|fetch|verify|remove] [ID ...]`; returns the exit status.

    Without names, `fetch` gets what the settings need and `verify` checks what is there.
    """
    if action not in ACTIONS:
        print(f"models: {action!r} is not an action; choose one of: {', '.join(ACTIONS)}")
        return 2
    try:
        if action == "list":
            print(_table(settings))
            return 0
        if action == "remove" and not names:
            print(f"models remove: name the models to remove ({COMMAND} models lists them)")
            return 2
        chosen = [_by_name(name, settings) for name in names]
        if action == "fetch":
            for model in chosen or _wanted(settings):
                fetched = fetch(model, settings.cache, settings.sources)
                print(f"{model.id}: {fastest(model, fetched)}")
            if not chosen and (path := fetch_small_asr(settings)):
                print(f"when too many talk at once: {path}")
        elif action == "verify":
            here = [one for one in MODELS.values() if recorded_files(settings.cache / one.id)]
            return _verify_all(chosen or here, settings.cache)
        else:
            for model in chosen:
                remove(model, settings.cache)
                print(f"{model.id}: removed")
    except ModelError as error:
        print(f"models {action}: {error}")
        return 1
    return 0


def _by_name(name: str, settings: Settings) -> Model:
    """The model called `name`, of whatever kind."""
    known = MODELS.get(ALIASES.get(name.lower(), name.lower()))
    return known or resolve(
        name, "llm" if name == "auto" or name.lower().endswith(".gguf") else "asr", settings
    )


def _wanted(settings: Settings) -> list[Model]:
    lists = [agent.voices for agent in Agents(settings.agents).all().values()]
    return [*needed(settings), *further_voices(settings, lists)]


def _verify_all(chosen: Sequence[Model], cache: Path) -> int:
    bad = 0
    for model in chosen:
        problems = verify(model, cache)
        bad += bool(problems)
        print(f"{model.id}: {'; '.join(problems) if problems else 'good'}")
    if bad:
        print(f"To repair: {COMMAND} models remove ID, then {COMMAND} models fetch ID")
    return 1 if bad else 0


def _table(settings: Settings) -> str:
    wanted = {model.id for model in _wanted(settings)}
    rows = [("id", "kind", "MB", "state", "from", "licence")]
    for model in MODELS.values():
        missing = "needed, missing" if model.id in wanted else "-"
        state = "here" if path_of(model, settings.cache) else missing
        origin = " ".join(model.sources) + ("" if model.pinned else " *")
        rows.append(
            (model.id, model.kind, f"{model.bytes / 1e6:,.0f}", state, origin, model.licence)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]))
        for row in rows
    ]
    notes = [
        "",
        (
            "* the sums of some of its files are not held here; huggingface-hub checks those "
            "against the hub's own."
        ),
        (
            f"Cache: {settings.cache}. Sources in the order tried: {', '.join(settings.sources)} "
            "(MODEL_SOURCES)."
        ),
    ]
    return "\n".join([*lines, *notes])
