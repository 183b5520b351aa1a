"""Which tools of others (MCP) a transcript may be about, by words alone: the rest never costs a
model's time.

A tool is described by the words of its name, its description and its parameters. A transcript
passes when it shares a telling word with them, by itself or in the same field of meaning ("hear"
and "music"), and has the form of a request; of a tool that only reads, a question will do. The
model then chooses among what passed, or nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from whisperfusion.tools import ServerTool
from whisperfusion.tools.router.spoken import POLITE, clauses, lowered, request

WORD = re.compile(r"[a-z']+|\d+")
MOST = 6  # tools that the model chooses among: a prompt of 200 tokens
LONGEST = 60  # words of a transcript; more is a story
# words by which people ask for the same thing
FIELDS = (
    "light lamp bulb dark bright dim lighting gloomy",
    "music song play hear listen album artist band singer tune track radio playlist",
    "list note jot shopping todo grocery buy",
    "temperature thermostat heat heating warm cold cool chilly freezing degree radiator",
    "volume loud quiet louder quieter mute",
    "door lock unlock gate garage",
    "blind shutter curtain",
    "weather rain snow sunny forecast umbrella windy storm",
    "mail email message send text write tell letter",
    "calendar appointment meeting event schedule plan agenda",
    "phone call dial ring",
    "clean vacuum hoover robot sweep dirty",
    "coffee brew espresso",
    "tv television watch film movie show channel",
    "translate translation language say",
    "stock share price quote",
    "train bus tram departure connection travel",
    "restaurant table reservation reserve book eat",
    "order deliver delivery parcel package",
    "file document folder read",
    "photo picture camera",
)
CAMEL = re.compile(r"([a-z])([A-Z])")
COMMON = set(
    "a an the and or of to in on off for by with from at as it its is are be this that these those "
    "i you he she we they me my your his her our their what which who when where why how all any "
    "some one use used using can could would will should do does did not no yes if so get set give "
    "make turn take put new name value string number true false id option optional default example "
    "such return returns user users call tool function specified given current please".split()
)
READERS = set(
    "get list search find read check show query lookup fetch look count describe is".split()
)
TALK = re.compile(
    r"^(?:tell (?:me|us) (?:a|an|the|about|more|something|why|how)|explain|describe|talk about|"
    r"what do you think|do you|did you|have you|are you|why\b|how (?:do|does|did|can|could|come)\b|"
    r"what (?:is|are|was|were) (?:a|an|the difference)\b|who (?:is|was|were)\b|sing|recite|imagine|"
    r"write (?:me )?a (?:poem|story|song)|let me tell you)"
)
WISH = re.compile(
    r"\b(?:can|could|would|will) you\b|\bplease\b|\bi(?:'d| would) (?:like|love|prefer)\b|"
    r"\bi want\b|"
    r"\bi need\b|\b(?:in the mood) for\b|\bi feel like\b|\bdon't let me forget\b|\bdo something\b|"
    r"\blet's\b|\bhow about\b|\bwe(?:'re| are) out of\b|\bit(?:'s| is) (?:too|so|very)\b|"
    r"\bgoes on\b|\bhas to go on\b|\bbelongs on\b"
)
STATEMENT = re.compile(
    r"^(?:i|we|he|she|they|it|you|there|my|our|his|her|their|the|a|an|this|that|these|those|"
    r"some|people|when|because|if|in|on|at|yesterday|once|last)\b"
)
ASKS = re.compile(r"^(?:what|which|when|where|who|how|is|are|do|does|did|will|have|has|any)\b")


@dataclass(frozen=True)
class Words:
    """Telling words of a tool (`strong`: of its name and enumerated values), fields included."""

    strong: frozenset[str]
    weak: frozenset[str]
    reads: bool


def candidates(text: str, tools: Sequence[ServerTool]) -> tuple[ServerTool, ...]:
    """The likeliest first; empty for nearly everything that people say."""
    spoken = lowered(text)
    heard = frozenset(stem(word) for word in WORD.findall(spoken))
    if not tools or len(heard) > LONGEST:
        return ()
    scored = [(score(heard, words_of(tool)), tool) for tool in tools]
    scored = [(points, tool) for points, tool in scored if points]
    if not scored:
        return ()
    asked, asking = forms(spoken, frozenset().union(*(words_of(tool).strong for _, tool in scored)))
    passed = [(points, tool) for points, tool in scored if asked or asking and words_of(tool).reads]
    passed.sort(key=lambda one: -one[0])
    return tuple(tool for _, tool in passed[:MOST])


def score(heard: frozenset[str], words: Words) -> float:
    """0 = does not pass."""
    strong, weak = len(heard & words.strong), len(heard & words.weak)
    return strong + weak / 2 if strong or weak >= 2 else 0.0


def forms(spoken: str, telling: frozenset[str]) -> tuple[bool, bool]:
    """Whether lowered text asks for an action, and whether it is a question."""
    parts = [request(part) for part in clauses(spoken)] or [request(spoken)]
    whole = request(spoken)
    if TALK.match(whole):
        return False, False
    asks = any(ASKS.match(part) for part in parts)
    wishes = WISH.search(spoken) is not None
    orders = any(
        part
        and not STATEMENT.match(part)
        and not ASKS.match(part)
        and len(part.split()) > 1
        and not POLITE.match(part)
        for part in parts
    )
    return wishes or orders, asks


def words_of(tool: ServerTool) -> Words:
    return _words(tool.name, tool.description, json.dumps(dict(tool.parameters), sort_keys=True))


@lru_cache(maxsize=1024)
def _words(name: str, description: str, parameters: str) -> Words:
    schema = json.loads(parameters)
    named = _split(name)
    values, others = _in_schema(schema)
    strong = _widened(_telling([*named, *values]))
    weak = _widened(_telling([*WORD.findall(description.lower()), *others])) - strong
    reads = bool(named) and any(word in READERS for word in named[:2])
    return Words(frozenset(strong), frozenset(weak), reads)


def _in_schema(schema: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Words of enumerated values; words of the parameters' names and descriptions."""
    values: list[str] = []
    others: list[str] = []
    for name, one in (schema.get("properties") or {}).items():
        others += _split(name)
        if isinstance(one, dict):
            values += [
                word
                for value in one.get("enum") or ()
                if isinstance(value, str)
                for word in WORD.findall(value.lower())
            ]
            others += WORD.findall(str(one.get("description", "")).lower())
    return values, others


def _split(name: str) -> list[str]:
    """The words of a name in snake_case or camelCase."""
    return WORD.findall(CAMEL.sub(r"\1 \2", name).lower().replace("_", " "))


def _telling(words: Sequence[str]) -> set[str]:
    return {stem(word) for word in words if word not in COMMON and len(word) > 1}


def _widened(stems: set[str]) -> set[str]:
    return stems.union(*(field for field in _FIELDS if field & stems)) if stems else stems


def stem(word: str) -> str:
    """Enough for plurals and verb forms of English."""
    word = word.removesuffix("'s")
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > 4:
            return word.removesuffix(ending) + rest
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "slz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


_FIELDS = tuple(frozenset(stem(word) for word in field.split()) for field in FIELDS)
