"""Agents in Realtime: the model of a session names one, or the client's key has one.

A session begins with what its agent says, so the client sees it, and its own `session.update` wins.
What only the call knows (language, model chain, tools, greeting) comes with the agent's name in the
handshake of 6006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import Headers

from whisperfusion.agents import Agent, Agents
from whisperfusion.runtime.devices import Devices
from whisperfusion.runtime.rate_limits import key_of_scope
from whisperfusion.sessions import is_caller
from whisperfusion.settings import Settings
from whisperfusion.wire.realtime import Session

CALLER_HEADER = "openai-safety-identifier"


@dataclass(frozen=True)
class SessionAgents:
    """`devices` are the paired ones, for agents that belong to one."""

    settings: Settings
    agents: Agents
    devices: Devices

    def begun(self, session: Session, scope: Mapping[str, Any], number: str = "") -> Session:
        """A new `session` with its agent: the one that its model names, else that of the number
        that was called, else that of the client's key; and with the caller, if the client names
        one.
        """
        session = replace(session, caller=_caller(scope))
        key = key_of_scope(scope)
        agent = self.agents.all().get(session.model) or self.agents.choose(
            None, number, key, self.devices.name_of(key)
        )
        return session if agent is None else self._with(session, agent, session)

    def greets(self, session: Session) -> bool:
        """Whether the agent of `session` speaks first."""
        agent = self.agents.all().get(session.agent)
        return session.kind == "realtime" and agent is not None and bool(agent.greeting)

    def changed(self, session: Session, given: Any, began: Session) -> Session:
        """`session`, before a session.update that may name another agent as its model: what the
        client left as it `began` becomes the new agent's.
        """
        model = given.get("model") if isinstance(given, dict) else None
        agent = self.agents.all().get(model) if isinstance(model, str) else None
        if agent is None or agent.name == session.agent:
            return session
        return self._with(session, agent, began)

    def _with(self, session: Session, agent: Agent, began: Session) -> Session:
        theirs = {
            "instructions": agent.instructions,
            "voice": agent.default_voice(self.settings),
            "speed": agent.speed,
        }
        changes: dict[str, Any] = {
            name: value
            for name, value in theirs.items()
            if value is not None and getattr(session, name) == getattr(began, name)
        }
        return replace(session, agent=agent.name, **changes)


def _caller(scope: Mapping[str, Any]) -> str:
    """OpenAI's header for the user of a client; a value that cannot be an identity counts as
    none.
    """
    caller = Headers(scope=dict(scope)).get(CALLER_HEADER, "")
    return caller if is_caller(caller) else ""
