"""LLM_CHAIN: its links in order, their addresses and time limits, and whether their keys are set.
No provider is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.engines.chain.links import Link, named
from whisperfusion.engines.chain.providers import PROVIDERS
from whisperfusion.errors import EngineError
from whisperfusion.generation.llm_links import first_token_s_of, key_name, missing_key, parse
from whisperfusion.settings import Settings


def check_chain(settings: Settings) -> Iterator[Finding]:
    try:
        links = parse(settings.llm_chain)
        missing = [missing_key(link, settings) for link in links]
    except EngineError as error:
        yield Finding("bad", str(error), "correct LLM_CHAIN; docs/chains.md has examples")
        return
    for name in ("llm_engine", "llm_url"):
        if getattr(settings, name) != getattr(Settings, name):
            yield Finding(
                "note",
                f"LLM_CHAIN is set, so {name.upper()} is not used",
                f"unset {name.upper()}, or write its server as a link of LLM_CHAIN",
            )
    for at, (link, name, lacks) in enumerate(zip(links, named(links), missing, strict=True), 1):
        text = f"llm: link {at} of {len(links)}: {name}{_address(link)}{_limit(link)}"
        if lacks:
            level = "note" if [one for one in missing if not one] else "bad"
            advice = f"set {lacks}, or take the link out of LLM_CHAIN"
            yield Finding(level, f"{text}, without its key", advice)
        else:
            own = key_name(link)
            yield good(f"{text}{f', key {own} is set' if own else ''}")


def _address(link: Link) -> str:
    address = link.url or PROVIDERS[link.provider].url
    return f" at {address}" if address else ""


def _limit(link: Link) -> str:
    limit_s = first_token_s_of(link)
    return f", first token within {limit_s:g} s" if limit_s is not None else ""
