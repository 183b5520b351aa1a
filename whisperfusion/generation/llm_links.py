"""The language models of LLM_CHAIN, or of LLM_ENGINE and its settings, as links of a chain.

Without LLM_CHAIN, LLM_ENGINE is the first link, and behind one that is a server stands the embedded
model. Engines in this process fail for reasons that a smaller model does not cure, and stand alone.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from whisperfusion.engines import LLM, load
from whisperfusion.engines.chain import links as chains
from whisperfusion.engines.chain.failures import NoKey
from whisperfusion.engines.chain.llm_link import Changed, Link
from whisperfusion.engines.chain.providers import OWN_FIRST_TOKEN_S, PROVIDERS
from whisperfusion.errors import EngineError, ModelError
from whisperfusion.models import machine, repacking, tensorrt_folders
from whisperfusion.models import store as models
from whisperfusion.models.model import Model
from whisperfusion.settings import Settings, engine_options, guessed, named_keys

EMBEDDED, TENSORRT = "llama.cpp", "tensorrt-llm"
LOCAL = (EMBEDDED, TENSORRT, "scripted")
SETTING = "LLM_CHAIN"
FIRST_TOKEN_S = (0.1, 120.0)  # what may be set
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

log = logging.getLogger("llm")
Notify = Callable[[str], object]


def parse(chain: str) -> tuple[chains.Link, ...]:
    """The links of `chain` in their order, checked. Raises EngineError."""
    found = chains.parse(chain, SETTING)
    for link in found:
        _check(link)
    return found


def key_name(link: chains.Link) -> str:
    """The setting, or the name in LLM_KEYS, of the link's key; "" = it needs none."""
    own = dict(link.options).get("key", "")
    return own or ("" if link.url else PROVIDERS[link.provider].key)


def key_of(link: chains.Link, settings: Settings) -> str:
    """The key that goes to the link's server, "" = none.

    A key goes only where its name says: that of a provider to the provider's own address, and to
    another address the one that the option `key` names. Raises EngineError for an unknown name.
    """
    name = key_name(link)
    if not name:
        return ""
    known = {one.key: getattr(settings, one.key.lower()) for one in PROVIDERS.values() if one.key}
    known |= named_keys(settings.llm_keys)
    if name not in known:
        raise EngineError(
            f"the link {link.name} names the key {name!r}, which is not known; allowed: "
            f"{', '.join(known)}. LLM_KEYS={name}=… adds it"
        )
    return str(known[name])


def missing_key(link: chains.Link, settings: Settings) -> str:
    """The setting that should have the link's key and is empty; "" = nothing is missing."""
    return "" if key_of(link, settings) else key_name(link)


def first_token_s_of(link: chains.Link) -> float | None:
    """How long the link's first token may take, in seconds; None = without limit."""
    given = dict(link.options).get("first_token_s")
    usual = OWN_FIRST_TOKEN_S if link.url else PROVIDERS[link.provider].first_token_s
    return float(given) if given else usual


def made(
    link: chains.Link, name: str, settings: Settings, notify: Notify, changed: Changed
) -> Link:
    """The link with its engine still to be loaded."""
    return Link(
        name,
        functools.partial(_load, link, settings, notify),
        remote=PROVIDERS[link.provider].remote,
        first_token_s=first_token_s_of(link),
        changed=changed,
    )


def of_settings(settings: Settings, notify: Notify, changed: Changed) -> tuple[Link, ...]:
    """What LLM_ENGINE and its settings say. No time limit: it is the operator's own choice."""
    name = settings.llm_engine
    build = functools.partial(load_chosen, settings, notify)
    chosen = Link(name, build, remote=name not in LOCAL, changed=changed)
    if name in LOCAL:
        return (chosen,)
    embedded = functools.partial(load_embedded, settings, notify)
    return chosen, Link(chains.EMBEDDED, embedded, changed=changed)


def load_embedded(
    settings: Settings, notify: Notify, name: str = "", options: Mapping[str, Any] = NO_OPTIONS
) -> LLM:
    """The embedded model; where it cannot be had, the next smaller one that is there."""
    chosen = settings.llm_engine == EMBEDDED
    given = {**(engine_options(settings.llm_option) if chosen else {}), **options}
    try:
        wanted = (
            models.resolve(name or settings.llm_model, "llm", settings)
            if name or chosen
            else models.fallback_llm(settings)
        )
    except ModelError as error:
        raise EngineError(f"the embedded model cannot be had: {error}") from error
    try:
        return _llama(wanted, settings, given)
    # in a turn, it ends that turn and not the process
    except (ModelError, OSError, EngineError) as error:
        reason = error
    for smaller in models.smaller_llms(wanted, settings):
        try:
            engine = _llama(smaller, settings, given)
        except (ModelError, OSError, EngineError) as error:
            log.warning("%s cannot be loaded either: %s", smaller.id, error)
            continue
        notify(f"{wanted.id} cannot be had ({reason}); {smaller.id} answers instead")
        return engine
    if isinstance(reason, EngineError):
        raise reason
    raise EngineError(f"the embedded model cannot be had: {reason}") from reason


def _llama(model: Model, settings: Settings, options: Mapping[str, Any]) -> LLM:
    path = repacking.fastest(model, models.fetch(model, settings.cache, settings.sources))
    threads = {"threads": machine.cores()}
    engine: LLM = load("llm", EMBEDDED, model=str(path), **{**threads, **options})
    return engine


def _load(link: chains.Link, settings: Settings, notify: Notify) -> LLM:
    preset = PROVIDERS[link.provider]
    options = {name: guessed(text) for name, text in link.options if name in preset.options}
    if preset.engine == EMBEDDED:
        return load_embedded(settings, notify, link.model, options)
    if not preset.remote:
        engine: LLM = load("llm", preset.engine, model=link.model, **options)
        return engine
    if missing := missing_key(link, settings):
        raise NoKey(f"{link.name} has no key; set {missing}, or take the link out of the chain")
    if preset.engine == "openai" and preset.url:
        # the model was named, and a turn should not wait for a list of hundreds
        options |= {"dialect": urlsplit(preset.url).hostname, "listed": bool(link.url)}
        options |= {"dialect": None} if link.url and link.provider == "openai" else {}
    url = link.url or preset.url or None
    key = key_of(link, settings) or None
    found: LLM = load("llm", preset.engine, model=link.model or None, url=url, key=key, **options)
    return found


def load_chosen(settings: Settings, notify: Notify) -> LLM:
    """The engine of LLM_ENGINE."""
    options = engine_options(settings.llm_option)
    if settings.llm_engine == EMBEDDED:
        return load_embedded(settings, notify)
    if settings.llm_engine == TENSORRT:
        folder = tensorrt_folders.folder("llm", settings)
        engine: LLM = load("llm", TENSORRT, model=str(folder), **options)
        return engine
    found: LLM = load(
        "llm",
        settings.llm_engine,
        model=None if settings.llm_model == "auto" else settings.llm_model,
        url=settings.llm_url or None,
        key=settings.llm_key or None,
        **options,
    )
    return found


def _check(link: chains.Link) -> None:
    preset = PROVIDERS.get(link.provider)
    if preset is None:
        raise EngineError(
            f"{SETTING} has a provider {link.provider!r} that is not known; allowed: "
            f"{', '.join(PROVIDERS)}. A server of your own with OpenAI's chat completions is "
            "openai@http://HOST:PORT/v1/MODEL"
        )
    if preset.needs_model and not link.model and not link.url:
        raise EngineError(
            f"{SETTING} has the link {link.name!r} without a model; write {link.provider}/MODEL"
        )
    if link.url and not preset.remote:
        raise EngineError(
            f"{SETTING} has an address for {link.provider!r}, which runs in this process; "
            f"write {link.name}"
        )
    allowed = ("first_token_s", *(("key",) if preset.remote else ()), *preset.options)
    for name, text in link.options:
        if name not in allowed:
            raise EngineError(
                f"{SETTING}: the link {link.name} has no option {name!r}; allowed: "
                f"{', '.join(allowed)}"
            )
        if name == "first_token_s":
            _check_first_token_s(link, text)


def _check_first_token_s(link: chains.Link, text: str) -> None:
    value, (low, high) = guessed(text), FIRST_TOKEN_S
    if isinstance(value, (str, bool)) or not low <= value <= high:
        raise EngineError(
            f"{SETTING}: first_token_s={text} of the link {link.name} is out of range; allowed: "
            f"{low:g} to {high:g} seconds"
        )
