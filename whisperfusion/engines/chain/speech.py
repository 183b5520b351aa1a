"""What a link of ASR_CHAIN or TTS_CHAIN means, as the settings of the one engine that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from whisperfusion.engines.chain.links import EMBEDDED, Link
from whisperfusion.engines.chain.providers import PROVIDERS
from whisperfusion.engines.registry import ENGINES
from whisperfusion.errors import EngineError

LOCAL = {"asr": "faster-whisper", "tts": "hibari"}  # what "embedded" means
# s that a server may take for a final transcript, or for the first sound and between two pieces,
# where another link waits behind it
LINK_TIMEOUT_S = 3.0
S = TypeVar("S")


def settings_of(
    link: Link, kind: str, settings: S, keys: Mapping[str, str], *, followed: bool
) -> S:
    """`settings` (a frozen dataclass with `asr_engine` and the like) as if `link` were the only
    engine of `kind`, "asr" or "tts". `keys`: those that links ask for by a name; `followed`:
    another link waits behind it. Raises EngineError.
    """
    setting, options = f"{kind.upper()}_CHAIN", dict(link.options)
    key_name = options.pop("key", "")
    changed = {"chain": "", "engine": LOCAL[kind], "url": "", "key": ""}
    if kind == "tts":
        changed["voice"] = link.voice
    if link.provider != EMBEDDED:
        engine, url = _engine(link, kind, setting)
        if ENGINES[kind][engine].by_url and followed:
            options.setdefault("timeout_s", f"{LINK_TIMEOUT_S:g}")
        changed |= {
            "engine": engine,
            "url": link.url or url,
            "model": link.model or ("auto" if kind == "asr" else ""),
            "key": _key(link, key_name, kind, settings, keys),
            "option": ",".join(f"{name}={value}" for name, value in options.items()),
        }
    elif kind == "tts":
        changed |= {"model": "", "option": ""}
    return replace(settings, **{f"{kind}_{name}": text for name, text in changed.items()})  # type: ignore[type-var]


def _engine(link: Link, kind: str, setting: str) -> tuple[str, str]:
    """Its name in the registry, and the address of a well-known provider."""
    provider = PROVIDERS.get(link.provider)
    if provider is not None and provider.engine == "openai":
        return "openai", provider.url
    if link.provider in ENGINES[kind]:
        return link.provider, ""
    hosted = [name for name, one in PROVIDERS.items() if one.engine == "openai"]
    allowed = ", ".join(sorted({*ENGINES[kind], *hosted, EMBEDDED}))
    raise EngineError(
        f"{setting} names {link.provider!r}, which is not known for this; allowed: {allowed}"
    )


def _key(link: Link, name: str, kind: str, settings: object, keys: Mapping[str, str]) -> str:
    """A key goes to the provider that it is for. A server that a link names by its address gets the
    one that the link asks for: by a name of LLM_KEYS, or of a setting.
    """
    if name:
        found = keys.get(name)
        if found is None and name.lower().endswith("_key"):
            found = getattr(settings, name.lower(), None)
        if not found:
            raise EngineError(
                f"{kind.upper()}_CHAIN asks for the key {name!r}, which is not set; allowed: a "
                "name of LLM_KEYS, or a setting such as GROQ_API_KEY"
            )
        return str(found)
    if link.url:
        return ""
    own = "llm_key" if link.provider == "openai" else f"{link.provider}_api_key"
    return str(getattr(settings, own, "") or getattr(settings, f"{kind}_key"))
