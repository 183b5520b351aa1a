"""The links of a chain as an operator writes them: "groq/whisper-large-v3, openai@http://host:8000/
whisper, embedded".

A link is a provider or an engine, and a model where it has several. `@` names a server of one's
own: all of its address up to a version ("/v1") is the address, the rest is the model. Of voices,
what follows the last colon is the voice: "cartesia/sonic-3:VOICE". Options follow a "?", joined by
"&": "ollama/llama3?first_token_s=8".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from whisperfusion.errors import EngineError

EMBEDDED = "embedded"  # the engine that needs no server
VERSION = re.compile(r"v\d\w{0,15}")
ADDRESS = re.compile(r"(?:http|ws)s?://[^/]+")
WHOLE = ("ray",)  # all of the address is the address; a model is the option `model`
VOICE_OF_PATH = re.compile(r"([a-z]{1,8}://[^/]{1,255}/[^:?]{1,200}):([^/:]{1,200})")
VOICE_OF_ADDRESS = re.compile(r"([a-z]{1,8}://[^/:]{1,255}:\d{1,5}):([^/:]{1,200})")


@dataclass(frozen=True)
class Link:
    """`url` "" = the provider's own; `model`, `voice` "" = its default."""

    provider: str
    model: str = ""
    url: str = ""
    voice: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Short, for people and metrics."""
        return "/".join(filter(None, (self.provider, self.model)))


def parse(chain: str, setting: str, voices: bool = False) -> tuple[Link, ...]:
    """The links of `chain` in their order; `setting` names where they were written.

    Raises EngineError.
    """
    texts = [text.strip() for text in chain.split(",")]
    links = [_link(text, setting, voices) for text in texts if text]
    if not links:
        raise EngineError(f"{setting} names no link; write such as provider/model, {EMBEDDED}")
    twice = {link.name for link in links if links.count(link) > 1}
    if twice:
        raise EngineError(f"{setting} names {', '.join(sorted(twice))} twice; once is enough")
    return tuple(links)


def _link(text: str, setting: str, voices: bool) -> Link:
    text, _, behind = text.partition("?")
    options = tuple(_option(one, text, setting) for one in filter(None, behind.split("&")))
    provider, at, address = text.partition("@")
    given = dict(options)
    if at and provider in WHOLE:
        url, model = address.rstrip("/"), given.pop("model", "")
        options = tuple(given.items())
    elif at:
        url, model = _address(address)
    else:
        provider, _, model = text.partition("/")
        url = ""
    if provider in WHOLE and not at:
        raise EngineError(
            f"{setting} has the link {provider!r} without an address; write such as "
            f"{provider}@http://HOST:8100/{setting.partition('_')[0].lower()}"
        )
    voice = ""
    if voices and (without_voice := VOICE_OF_PATH.fullmatch(url)):
        url, voice = without_voice.groups()
    elif voices and (without_model := VOICE_OF_ADDRESS.fullmatch(url)):
        url, voice = without_model.groups()
    elif voices and ":" in (model or provider):
        named, _, voice = (model or provider).rpartition(":")
        provider, model = (provider, named) if model else (named, "")
    # a name or password in an address would be shown with it
    wrong = at and (not ADDRESS.match(address) or "@" in address)
    if not provider or wrong or " " in text:
        raise EngineError(
            f"{setting} has a link {text!r} that cannot be read; allowed: provider, provider/model "
            "or engine@http://host:port/model, separated by commas"
        )
    return Link(provider.lower(), model, url, voice, options)


def _option(text: str, link: str, setting: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier() or not value:
        raise EngineError(
            f"{setting} has the link {link!r} with an option {text!r} that cannot be read; "
            "allowed: name=value, joined by &"
        )
    return name, value


def _address(address: str) -> tuple[str, str]:
    """The base URL and the model in it."""
    parts = urlsplit(address)
    path = [part for part in parts.path.split("/") if part]
    ends = [at for at, part in enumerate(path, 1) if VERSION.fullmatch(part)]
    base = "/".join((f"{parts.scheme}://{parts.netloc}", *path[: ends[0] if ends else 0]))
    return base, "/".join(path[ends[0] if ends else 0 :])


def named(links: Sequence[Link]) -> tuple[str, ...]:
    """A name for each, told apart where two have the same."""
    names = [link.name for link in links]
    return tuple(
        f"{name}@{urlsplit(link.url).netloc}" if names.count(name) > 1 and link.url else name
        for name, link in zip(names, links, strict=True)
    )
