"""One frozen settings object, built once and handed to every process.

Flags, environment variables and `.env` all come from the fields of `Settings`: the field `asr_model` is
the flag `--asr-model` and the variable `ASR_MODEL`, plus the older spellings in its `aliases`. A flag
beats the environment, the environment beats `.env`. A wrong value names the variable, the value and
what is allowed.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

INSTRUCTIONS = (
    "You are a friendly assistant talking with someone by voice. Answer in one to three short, plain spoken "
    "sentences. Begin with the answer. Never use lists, markup, code or emoji."
)

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class SettingsError(Exception):
    """A setting has a value that cannot be used; the text says which and what is allowed."""


def _setting(default: Any, help: str, *, aliases: str = "", choices: str = "", low: float | None = None,
             high: float | None = None) -> Any:
    meta = {"help": help, "aliases": tuple(aliases.split()), "choices": tuple(choices.split()), "low": low, "high": high}
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class Settings:
    asr_engine: str = _setting("faster-whisper", "speech to text: faster-whisper, tensorrt-whisper (NVIDIA GPU), scripted (tests)")
    asr_model: str = _setting("whisper-base", "model id (see `main.py models`) or a folder", aliases="WHISPER_MODEL WHISPER_PATH")
    asr_device: str = _setting("auto", "where it runs", aliases="DEVICE", choices="auto cpu cuda")
    asr_compute_type: str = _setting("auto", "auto = int8 on CPU, float16 on CUDA", aliases="COMPUTE_TYPE",
                                     choices="auto int8 int8_float16 int8_float32 int8_bfloat16 int16 float16 bfloat16 float32")
    asr_language: str = _setting("en", "language of the callers (ISO code), or auto", aliases="WHISPER_LANGUAGE")
    asr_option: str = _setting("", "more options of the engine: name=value,name=value")
    asr_small_model: str = _setting("auto", "a smaller recognizer for when too many talk at once: model id or a folder; auto = "
                                    "whisper-tiny.en for English and a bigger Whisper, none = off")
    vad_engine: str = _setting("silero", "speech detector: silero, scripted (tests)")
    vad_filter: bool = _setting(True, "false = transcribe silence too (callers that only transcribe)")
    turn_engine: str = _setting("smart-turn", "end-of-turn model: smart-turn, scripted (tests), none (silence alone)")
    eagerness: float = _setting(0.5, "how soon a pause counts as the end of a turn: 0 = patient, 1 = eager", low=0, high=1)
    llm_engine: str = _setting("llama.cpp", "llama.cpp (in process), tensorrt-llm (NVIDIA GPU), ollama, openai (any compatible server), "
                               "scripted (tests)")
    llm_model: str = _setting("auto", "model id, a .gguf file, an engine folder, or the server's model name; auto = chosen by the machine",
                              aliases="MODEL OLLAMA_MODEL OPENAI_MODEL")
    llm_url: str = _setting("", "base URL of the LLM server", aliases="OLLAMA_URL OPENAI_BASE_URL")
    llm_key: str = _setting("", "key of the LLM server", aliases="OPENAI_API_KEY")
    llm_option: str = _setting("", "more options of the engine: name=value,name=value")
    llm_max_tokens: int = _setting(200, "longest reply, in tokens", low=1, high=4096)
    llm_temperature: float = _setting(0.4, "0 = always the likeliest word", low=0, high=2)
    instructions: str = _setting(INSTRUCTIONS, "what the assistant is told about itself", aliases="SYSTEM_PROMPT")
    tts_engine: str = _setting("hibari", "text to speech: hibari, piper (an extra, GPL), whisperspeech (NVIDIA GPU), scripted (tests)")
    tts_voice: str = _setting("", "voice of the engine (whisperspeech: a recording of it); empty = its default")
    tts_model: str = _setting("", "model id or file for the engine, where it needs one", aliases="PIPER_MODEL_PATH")
    tts_speed: float = _setting(1.0, "1 = normal pace", low=0.5, high=2.0)
    tts_option: str = _setting("", "more options of the engine: name=value,name=value")
    filler: str = _setting("", 'said when an answer is late, such as "Hmm."; empty = nothing')
    host: str = _setting("127.0.0.1", "address to listen on; 0.0.0.0 = every network this machine is on")
    asr_port: int = _setting(6006, "WebSocket: microphone in, captions and events out", low=0, high=65535)
    tts_port: int = _setting(8888, "WebSocket: speech out", low=0, high=65535)
    upstream_host: str = _setting("", "host of the two sockets above, for a gateway running alone elsewhere; empty = this machine")
    http_port: int = _setting(8000, "page and HTTP", aliases="PORT", low=0, high=65535)
    max_callers: int = _setting(30, "callers at once; the next one is told to wait", aliases="MAX_CLIENTS", low=1, high=10000)
    max_call_s: float = _setting(3600, "longest call, seconds", low=1, high=86400 * 7)
    cors_origins: str = _setting("", "web origins that may call from other sites, comma separated; * = all")
    shared_secret: str = _setting("", "key that every connection must carry (Bearer header or ?token=); several: separated by commas")
    allow_open: bool = _setting(False, "true = listen on a network although there is no SHARED_SECRET")
    api_prefix: str = _setting("/v1", "where the OpenAI-compatible routes are")
    upload_mb: float = _setting(25.0, "largest request body, megabytes (tracks of Bazarr: 1500)", low=0.1, high=100_000)
    rate_limit: int = _setting(0, "requests and connections a minute, of each key and of each address; 0 = any", low=0, high=1_000_000)
    calls_limit: int = _setting(0, "connections and requests at once, of each key and of each address; 0 = any", low=0, high=10_000)
    wyoming_port: int = _setting(0, "Wyoming protocol for Home Assistant, usually 10300; 0 = off", low=0, high=65535)
    model_cache_dir: str = _setting("~/.cache/whisperfusion", "where models are kept")
    engines_dir: str = _setting("~/.cache/whisperfusion/engines", "where TensorRT engines are kept, a folder for each model")
    cuda_arch: str = _setting("auto", "GPU architecture that TensorRT engines are built for, such as 8.9; auto = that of the first GPU")
    model_sources: str = _setting("packages,hub", "where models come from, in the order tried", choices="")
    record_dir: str = _setting("", "where calls are recorded for `main.py replay`, without their sound; empty = nowhere")
    log_level: str = _setting("info", "what to print", choices="debug info warning error")
    verbose: bool = _setting(False, "same as LOG_LEVEL=debug")

    @property
    def cache(self) -> Path:
        return Path(self.model_cache_dir).expanduser()

    @property
    def engines(self) -> Path:
        return Path(self.engines_dir).expanduser()

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.model_sources.split(",") if part.strip())

    @property
    def key(self) -> str:
        """The one that this project's own clients send; "" = none is asked for."""
        return self.keys[0] if self.keys else ""

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.shared_secret.split(",") if part.strip())

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.cors_origins.split(",") if part.strip())


def check_doors(settings: Settings) -> None:
    """Before anything listens: nobody opens a server to a network without meaning to. Raises SettingsError."""
    if not (settings.keys or settings.allow_open or is_loopback(settings.host)):
        raise SettingsError(f"HOST={settings.host} lets everybody in its network talk to this server; set SHARED_SECRET, "
                            "or ALLOW_OPEN=true if that is what you want")


def is_loopback(host: str) -> bool:
    """Can nobody but this machine reach what listens on `host`?"""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name, or "" for every network


def engine_options(text: str) -> dict[str, Any]:
    """`beam_size=5,patience=1.5` as keyword arguments; numbers and booleans become what they look like."""
    options: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier():
            raise SettingsError(f"engine option {part!r} must look like name=value")
        options[name] = _guess(value)
    return options


def _guess(value: str) -> Any:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(value.lower(), value)


def _convert(spelling: str, text: str, spec: Any) -> Any:
    """The value of a field from its text, or a `SettingsError` that a person can act on."""
    meta, kind = spec.metadata, type(spec.default)
    text = text.strip()
    if kind is bool:
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise SettingsError(f"{spelling}={text!r} is not a yes or a no; allowed: true, false")
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise SettingsError(f"{spelling}={text!r} is not a number") from None
        if not meta["low"] <= value <= meta["high"]:
            raise SettingsError(f"{spelling}={text} is out of range; allowed: {meta['low']} to {meta['high']}")
        return value
    if meta["choices"]:
        if text.lower() not in meta["choices"]:
            raise SettingsError(f"{spelling}={text!r} is not known; allowed: {', '.join(meta['choices'])}")
        return text.lower()
    return text


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file; empty when there is none."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each field. Values stay text here; `build` converts them all in one place."""
    for spec in fields(Settings):
        variables = ", ".join((spec.name.upper(), *spec.metadata["aliases"]))
        choices = spec.metadata["choices"]
        shown = "(long text)" if len(str(spec.default)) > 60 else spec.default
        help = f"{spec.metadata['help']}{': ' + ', '.join(choices) if choices else ''} [{variables}; default: {shown}]"
        bare: dict[str, Any] = {"nargs": "?", "const": "true"} if isinstance(spec.default, bool) else {}
        parser.add_argument("--" + spec.name.replace("_", "-"), metavar="VALUE", help=help.replace("%", "%%"), **bare)


def build(flags: Mapping[str, str | None], environ: Mapping[str, str], env_file: Mapping[str, str]) -> Settings:
    """Settings from flags (field name to text), the environment and `.env`, in that order of strength."""
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        assert spec.default is not MISSING
        flag = flags.get(spec.name)
        if flag is not None:
            values[spec.name] = _convert("--" + spec.name.replace("_", "-"), flag, spec)
            continue
        for source in (environ, env_file):
            found = next((n for n in (spec.name.upper(), *spec.metadata["aliases"]) if source.get(n, "").strip()), None)
            if found:
                values[spec.name] = _convert(found, source[found], spec)
                break
    _follow_old_spellings(values, {**env_file, **environ})
    settings = Settings(**values)
    unknown = set(settings.sources) - {"packages", "hub"}
    if unknown or not settings.sources:
        raise SettingsError(f"MODEL_SOURCES={settings.model_sources!r} is not known; allowed: packages, hub, in the order to try")
    prefix = settings.api_prefix
    if prefix and (not prefix.startswith("/") or prefix.endswith("/") or not re.fullmatch(r"[\w./~-]+", prefix)):
        raise SettingsError(f"API_PREFIX={prefix!r} is no path; allowed: nothing, or a path such as /v1")
    for text in (settings.asr_option, settings.llm_option, settings.tts_option):
        engine_options(text)
    return settings


def _follow_old_spellings(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """An older variable that names a server or a voice also chooses its engine, unless one was chosen."""
    if "llm_engine" not in values and environ.get("OLLAMA_URL", "").strip():
        values["llm_engine"] = "ollama"
    if "llm_engine" not in values and environ.get("OPENAI_BASE_URL", "").strip():
        values["llm_engine"] = "openai"
    if "tts_engine" not in values and environ.get("PIPER_MODEL_PATH", "").strip():
        values["tts_engine"] = "piper"
    if values.get("verbose"):
        values["log_level"] = "debug"


def from_command_line(arguments: Sequence[str], parser: argparse.ArgumentParser) -> tuple[Settings, argparse.Namespace]:
    """Parse flags with `parser` (after `add_flags`) and build the settings of this process."""
    namespace = parser.parse_args(arguments)
    return build(vars(namespace), os.environ, read_env_file(Path(".env"))), namespace
