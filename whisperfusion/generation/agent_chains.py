"""Checks the language model chains of agents before the start."""

from __future__ import annotations

from collections.abc import Iterable

from whisperfusion.agents import Agent
from whisperfusion.errors import EngineError, SettingsError
from whisperfusion.settings import Settings


def check_chains(agents: Iterable[Agent], settings: Settings) -> None:
    """Raises SettingsError for a chain that LLM_CHAIN could not be either."""
    for agent in agents:
        if not agent.chain:
            continue
        from whisperfusion.generation import llm_links  # engines need numpy, and main does not

        try:
            for link in llm_links.parse(agent.chain):
                llm_links.key_of(link, settings)  # raises for a provider that is not known
        except EngineError as error:
            problem = str(error).replace("LLM_CHAIN", "its chain")
            file = settings.agents / f"{agent.name}.toml"
            raise SettingsError(f"{file}: chain = {agent.chain!r}: {problem}") from None
