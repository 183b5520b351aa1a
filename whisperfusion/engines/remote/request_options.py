"""The options of a chat completion that not every server takes, and what is sent in their place.

Models that reason think first, which a voice cannot wait for, so every server is asked not to, in
the words that it may know. A server refuses what it does not know, and names it; `without` gives
the options that are left. The table is in docs/models.md, "Models that think".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

THOUGHT_TOKENS = 2048  # on top of the answer's, where the model is allowed to think
TEMPLATE, EFFORT, REASONING = "chat_template_kwargs", "reasoning_effort", "reasoning"
# Hosts (and all below them) that refuse what a self-hosted server passes on to a chat template.
WITHOUT_TEMPLATES = (
    "openai.com",
    "azure.com",
    "groq.com",
    "googleapis.com",
    "mistral.ai",
    "anthropic.com",
    "x.ai",
)
OPENROUTER = "openrouter.ai"
# of networks at home and of clusters: RFC 6762, RFC 8375, ICANN's name for private use, Kubernetes
OWN_NAMES = ("local", "home.arpa", "internal", "lan", "svc")
REFUSING = (400, 422, 500)  # 500: a chat template that raises
NAMED = {  # how refusals name a field, or a value of it
    REASONING: re.compile(r"(?i)\breasoning\b"),
    EFFORT: re.compile(r"(?i)reasoning[_. ]?effort|\bthink(?:ing)?\b"),
    TEMPLATE: re.compile(r"(?i)chat_template_kwargs|enable_thinking"),
}
UNKNOWN_FIELD = re.compile(
    r"(?i)unrecogni[sz]ed|\bunknown|unsupported (?:param|arg|field)|support (?:the )?param|"
    r"\bextra\b|not permitted|\bproperty\b|unexpected (?:keyword|field|arg|prop)"
)


@dataclass(frozen=True)
class RequestOptions:
    """`wishes` are the fields about thinking: for each the values to try, the first of which is
    sent. `thinks`: the model is allowed to.
    """

    thinks: bool = False
    wishes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    limit: str = "max_tokens"  # newer models of OpenAI only know the other name
    temperature: bool = True  # and some have a fixed one

    def fields(self, max_tokens: int, temperature: float) -> dict[str, Any]:
        """The fields of a request; `max_tokens` are those of the answer alone."""
        room = THOUGHT_TOKENS if self.thinks else 0
        return {
            self.limit: max_tokens + room,
            **({"temperature": temperature} if self.temperature else {}),
            **{name: values[0] for name, values in self.wishes.items()},
        }

    def without(self, status: int, reason: str) -> RequestOptions | None:
        """What is left after a refusal; None: it was about something else."""
        if status not in REFUSING:
            return None
        if self.limit == "max_tokens" and "max_completion_tokens" in reason:
            return replace(self, limit="max_completion_tokens")
        for name in self.wishes:
            if NAMED[name].search(reason):
                return self._with_fewer(name, whole=bool(UNKNOWN_FIELD.search(reason)))
        if self.temperature and "temperature" in reason:
            return replace(self, temperature=False)
        return None

    def _with_fewer(self, name: str, whole: bool) -> RequestOptions:
        """The next value of the field `name`; none of them where the server lacks the field."""
        left = () if whole else self.wishes[name][1:]
        wishes = {**self.wishes, name: left}
        return replace(self, wishes={name: values for name, values in wishes.items() if values})


def first_options(url: str, thinking: bool, effort: str | None) -> RequestOptions:
    """What a server at `url` is asked first. `effort`: the operator's own `reasoning_effort`."""
    host = urlsplit(url).hostname or ""
    wishes: dict[str, tuple[Any, ...]]
    if below(host, OPENROUTER):
        wishes = {REASONING: _for_openrouter(thinking, effort)}
    else:
        wishes = {}  # a refusal is held against them in this order: the plainer name first
        if not any(below(host, cloud) for cloud in WITHOUT_TEMPLATES):
            # the first name is that of Qwen, GLM, Gemma and Nemotron, the second of DeepSeek,
            # Granite and Kimi; templates do not read the other
            wishes[TEMPLATE] = ({"enable_thinking": thinking, "thinking": thinking},)
        if effort or not thinking:
            wishes[EFFORT] = (effort,) if effort else ("none", "minimal", "low")
    return RequestOptions(thinking, wishes)


def _for_openrouter(thinking: bool, effort: str | None) -> tuple[dict[str, Any], ...]:
    """Thoughts of a model that cannot do without are short and not sent."""
    if effort:
        return ({"effort": effort, "exclude": True},)
    if thinking:
        return ({"enabled": True, "exclude": True},)
    return {"enabled": False}, {"effort": "minimal", "exclude": True}, {"effort": "low"}


def is_nearby(url: str) -> bool:
    """Whether `url` is on this machine, in its network or cluster, so that requests are free."""
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or any(below(host, name) for name in OWN_NAMES)


def below(host: str, name: str) -> bool:
    return host == name or host.endswith(f".{name}")
