"""ASR_CHAIN and TTS_CHAIN: their links in order, where each is, and whether it has its key. No
provider is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.engines import ENGINES
from whisperfusion.engines.chain.links import named, parse
from whisperfusion.engines.chain.speech import settings_of
from whisperfusion.errors import EngineError
from whisperfusion.settings import Settings, engine_options, named_keys

OWN = {"deepgram": "https://api.deepgram.com/v1", "cartesia": "https://api.cartesia.ai"}
NOT_USED = ("engine", "url")  # beside a chain


def speech_links(settings: Settings, kind: str) -> list[tuple[str, Settings]]:
    """Name of each link of "asr" or "tts", and settings as if it were the only engine; empty
    without a chain. Raises EngineError.
    """
    chain, setting = getattr(settings, f"{kind}_chain"), f"{kind.upper()}_CHAIN"
    links = parse(chain, setting, voices=kind == "tts") if chain else ()
    keys = named_keys(settings.llm_keys)
    return [
        (name, settings_of(link, kind, settings, keys, followed=link is not links[-1]))
        for name, link in zip(named(links), links, strict=True)
    ]


def check_speech_chain(settings: Settings, kind: str) -> Iterator[Finding]:
    setting = f"{kind.upper()}_CHAIN"
    try:
        links = speech_links(settings, kind)
    except EngineError as error:
        yield Finding("bad", str(error), f"correct {setting}; docs/chains.md has examples")
        return
    for name in (f"{kind}_{one}" for one in NOT_USED):
        if getattr(settings, name) != getattr(Settings, name):
            yield Finding(
                "note",
                f"{setting} is set, so {name.upper()} is not used",
                f"unset {name.upper()}, or write it as a link of {setting}",
            )
    lacking = [_lacks_key(own, kind) for _, own in links]
    for at, ((name, own), lacks) in enumerate(zip(links, lacking, strict=True), 1):
        text = f"{kind}: link {at} of {len(links)}: {_described(name, own, kind)}"
        if lacks:
            level = "bad" if all(lacking) else "note"
            yield Finding(level, f"{text}, without its key", _advice(own, kind, setting))
        else:
            yield good(text)


def _described(name: str, own: Settings, kind: str) -> str:
    engine, options = getattr(own, f"{kind}_engine"), engine_options(getattr(own, f"{kind}_option"))
    abilities = ", ".join(ENGINES[kind][engine].abilities)
    address = _address(own, kind)
    limit = f", {options['timeout_s']:g} s at most" if "timeout_s" in options else ""
    return f"{name}{f' at {address}' if address else ''}{limit} [{abilities}]"


def _address(own: Settings, kind: str) -> str:
    return getattr(own, f"{kind}_url") or OWN.get(getattr(own, f"{kind}_engine"), "")


def _lacks_key(own: Settings, kind: str) -> bool:
    """Whether the link goes to a provider that answers nobody without a key."""
    address = _address(own, kind)
    hosted = address.startswith("https://") and "." in (urlsplit(address).hostname or "")
    return hosted and not getattr(own, f"{kind}_key")


def _advice(own: Settings, kind: str, setting: str) -> str:
    engine = getattr(own, f"{kind}_engine")
    wanted = f"{engine.upper()}_API_KEY" if engine in OWN else "its key, or name one with ?key="
    return f"set {wanted}, or take the link out of {setting}"
