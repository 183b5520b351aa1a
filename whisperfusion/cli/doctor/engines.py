"""Engines and models: what the settings lead to, and what is missing."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator

from whisperfusion import engines
from whisperfusion.cli.doctor import speech_chains
from whisperfusion.cli.doctor.chain import check_chain
from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.cli.doctor.speech_chains import check_speech_chain
from whisperfusion.models import cards, machine, tensorrt_folders
from whisperfusion.models import store as models
from whisperfusion.models.catalog import Model
from whisperfusion.paths import COMMAND
from whisperfusion.settings import Settings

SERVER_TIMEOUT_S = 2.0
DEFAULT_ADDRESSES = {
    "ollama": "http://127.0.0.1:11434",
    "openai": "https://api.openai.com/v1",
    **speech_chains.OWN,
}
PATHS = {
    "ollama": "/api/tags",
    "cartesia": "/voices?limit=1",
    "ray": "/about",
}  # that cost nothing; else /models
SCHEMES = {"deepgram": "Token"}
OTHER_MEMORY = 1_300_000_000  # bytes for everything beside the language model


def check_engines(settings: Settings) -> Iterator[Finding]:
    chooses = settings.asr_engine in ("openai", "deepgram", "ray")
    listed = chooses and settings.asr_model == Settings.asr_model
    rows = (
        ("asr", settings.asr_engine, "its own choice of model" if listed else settings.asr_model),
        ("vad", settings.vad_engine, ""),
        ("turn", settings.turn_engine, ""),
        ("speaker", settings.speaker_engine, ""),
        ("llm", settings.llm_engine, settings.llm_model),
        ("tts", settings.tts_engine, settings.default_voice or "its default voice"),
    )
    if settings.llm_chain:
        yield from check_chain(settings)
    for kind in ("asr", "tts"):
        if getattr(settings, f"{kind}_chain"):
            yield from check_speech_chain(settings, kind)
    for kind, name, model in rows:
        if getattr(settings, f"{kind}_chain", ""):
            continue
        added = {
            point.name for point in importlib.metadata.entry_points(group=f"whisperfusion.{kind}")
        }
        known = {
            *engines.ENGINES[kind],
            *added,
            *(("none",) if kind in ("turn", "speaker") else ()),
        }
        if name not in known:
            yield Finding(
                "bad",
                f"{name!r} is not a valid {kind} engine",
                f"set {kind.upper()}_ENGINE to one of: {', '.join(sorted(known))}",
            )
            continue
        text = f"{kind}: {name}" + (f", {model}" if model else "")
        if (name, model) == ("faster-whisper", "auto"):
            text = f"{kind}: {name}, {models.default(kind, settings)[0]}"
        if why := dict(models.reasons(settings)).get(kind):
            text += f": {why}"
        entry = engines.ENGINES[kind].get(name)
        if entry is not None and entry.abilities:
            text += f" [{', '.join(entry.abilities)}]"
        yield good(text)
    small = models.small_asr(settings)
    if small is not None:
        present = models.path_of(small, settings.cache) is not None
        fetch = "" if present else f"; not downloaded yet: {COMMAND} models fetch"
        yield good(f"asr under load (ASR_SMALL_MODEL): {small.id}{fetch}")


def check_tensorrt(settings: Settings) -> Iterator[Finding]:
    """Whether the engines are built; whether they load shows only on their GPU."""
    for kind, engine in (("asr", settings.asr_engine), ("llm", settings.llm_engine)):
        if engine.startswith("tensorrt-"):
            folder = tensorrt_folders.folder(kind, settings)
            if any(folder.glob("*.engine")):
                yield good(f"{kind}: TensorRT engine in {folder}")
            else:
                yield Finding(
                    "bad",
                    f"{kind}: there is no TensorRT engine in {folder}",
                    (
                        "docker/scripts/build-models.sh builds what the settings ask for; the "
                        "container does it at its start"
                    ),
                )


def check_models(settings: Settings) -> Iterator[Finding]:
    yield from check_tensorrt(settings)
    try:
        wanted = models.needed(settings)
    except models.ModelError as error:
        yield Finding("bad", str(error), "correct ASR_MODEL, LLM_MODEL or TTS_MODEL")
        return
    missing = [model for model in wanted if models.path_of(model, settings.cache) is None]
    for model in wanted:
        yield _missing(model, settings) if model in missing else _present(model)
    yield from _check_space(missing, settings)
    yield from _check_memory(wanted, settings)


def _size(model: Model) -> str:
    return f"{model.bytes / 1e6:,.0f} MB" if model.bytes else "size not known"


def _present(model: Model) -> Finding:
    if model.path is not None:
        return good(f"{model.path} is present")
    return good(f"{model.id} is present ({_size(model)}), {model.licence}")


def _missing(model: Model, settings: Settings) -> Finding:
    if set(model.sources) & set(settings.sources):
        return Finding(
            "note",
            f"{model.id} is not downloaded yet ({_size(model)})",
            f"{COMMAND} models fetch, or just start: it is downloaded then",
        )
    sources = ", ".join(model.sources) or "the file itself"
    return Finding(
        "bad",
        f"{model.id} is not downloaded, and not in MODEL_SOURCES={settings.model_sources}",
        f"add {sources}, or choose another model ({COMMAND} models)",
    )


def _check_space(missing: list[Model], settings: Settings) -> Iterator[Finding]:
    total = sum(model.bytes for model in missing)
    folders = (settings.cache, *settings.cache.absolute().parents)
    if total > shutil.disk_usage(next(one for one in folders if one.exists())).free:
        yield Finding(
            "bad",
            f"the missing models need {total / 1e9:.1f} GB",
            "make room, or name another folder with MODEL_CACHE_DIR",
        )


def _check_memory(wanted: list[Model], settings: Settings) -> Iterator[Finding]:
    if cards.card_of("llm", settings):  # its memory is another
        wanted = [model for model in wanted if model.kind != "llm"]
    # weights, cache and buffers
    language = sum(model.bytes for model in wanted if model.kind == "llm") * 1.2
    if wanted and language + OTHER_MEMORY > machine.memory_bytes():
        yield Finding(
            "note",
            f"about {(language + OTHER_MEMORY) / 1e9:.1f} GB of memory will be needed",
            f"choose a smaller LLM_MODEL, such as {machine.LLM_TINY}",
        )


def check_servers(settings: Settings) -> Iterator[Finding]:
    """Whether those of engines by URL can be reached; whether they have the models is checked by
    the engines.
    """
    fall_back = models.fallback_llm(settings).id
    instead = {"llm": f"until then {fall_back} answers in its place"}
    for kind, stage in {"asr": "speech to text", "llm": "LLM", "tts": "text to speech"}.items():
        engine = getattr(settings, f"{kind}_engine")
        entry = engines.ENGINES[kind].get(engine)
        if entry is None or not entry.by_url or getattr(settings, f"{kind}_chain"):
            continue
        address = getattr(settings, f"{kind}_url") or DEFAULT_ADDRESSES.get(engine, "")
        if not address:
            variable = f"{kind.upper()}_URL"
            yield Finding("bad", f"{variable} is not set, and {engine} needs it", f"set {variable}")
            continue
        address = address if "://" in address else f"http://{address}"
        key = getattr(settings, f"{kind}_key") or getattr(settings, f"{engine}_api_key", "")
        yield _server(
            f"the {stage} server {address}",
            address.rstrip("/") + PATHS.get(engine, "/models"),
            {"Authorization": f"{SCHEMES.get(engine, 'Bearer')} {key}"} if key else {},
            kind.upper(),
            instead.get(kind, ""),
        )


def _server(
    server: str, address: str, headers: dict[str, str], setting: str, instead: str
) -> Finding:
    """`instead`: what happens without it; "" = nothing does, and the start fails."""
    import httpx

    level, then = ("note", instead) if instead else ("bad", "the start fails without it")
    try:
        status = httpx.get(address, headers=headers, timeout=SERVER_TIMEOUT_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            level,
            f"{server} cannot be reached ({error or type(error).__name__})",
            f"start it or correct {setting}_URL; {then}",
        )
    if status in (401, 403):
        return Finding(level, f"{server} refuses the key ({status})", f"correct {setting}_KEY")
    return good(f"{server} answers (status {status})")
