"""Sixty spoken tool requests: which tool a model calls with which arguments, with the router and
without.

    python -m bench.tool_requests [--models qwen2.5-coder-0.5b …] [--sets first held_out]
        [--ways router native] [--voices "hibari heart" …] [--failures]

The requests, as whisper-base understood them in each voice, are in tests/data/tool_requests
(bench/speak_tool_requests.py). `right`: the tool with the arguments that were meant, or none where
none was; `wrong`: another one, other arguments, or one that nobody asked for; `none`: a request
that was not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.common import ROOT
from bench.speak_tool_requests import weights
from whisperfusion.engines import LLM, ToolCall, ToolLLM, load
from whisperfusion.errors import WhisperFusionError
from whisperfusion.generation.routing import route
from whisperfusion.messages import ChatMessage
from whisperfusion.models import machine
from whisperfusion.settings import Settings, build
from whisperfusion.tools import ServerTool, Tools
from whisperfusion.tools.builtin import calculator, clock, end_call, timers
from whisperfusion.tools.builtin.calculator import calculated
from whisperfusion.tools.search import web

REQUESTS = ROOT / "tests" / "data" / "tool_requests"
NOW = datetime(2026, 11, 29, 15, 20)  # when the requests were spoken
MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
SECONDS = {"hours": 3600, "minutes": 60, "seconds": 1}


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


TEXT = {"type": "string"}
# tools as MCP servers bring them, with words that the router does not know
OTHERS = (
    ServerTool(
        "set_light",
        "Turn the light in a room on or off.",
        schema(room=TEXT, on={"type": "boolean"}),
        "home",
        acts=True,
    ),
    ServerTool(
        "play_music", "Play music by an artist or a band.", schema(artist=TEXT), "home", acts=True
    ),
    ServerTool(
        "add_to_list",
        "Put an item on the shopping list or the to-do list.",
        schema(list={"type": "string", "enum": ["shopping", "todo"]}, item=TEXT),
        "home",
        acts=True,
    ),
)
TOOLS = (
    clock.TOOL,
    timers.SET,
    timers.LIST,
    timers.CANCEL,
    calculator.TOOL,
    end_call.TOOL,
    web.TOOL,
    *OTHERS,
)


@dataclass(frozen=True)
class Request:
    """`heard` by name of a voice; `tool` None = none is needed."""

    id: int
    text: str
    tool: str | None
    arguments: Mapping[str, Any]
    heard: Mapping[str, str]


def requests(name: str) -> list[Request]:
    lines = (REQUESTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Request(**json.loads(line)) for line in lines]


def verdict(request: Request, heard: str, call: ToolCall | None) -> str:
    """ "right", "wrong" or "none"."""
    if call is None:
        return "right" if request.tool is None else "none"
    if call.name != request.tool:
        return "wrong"
    try:
        given = json.loads(call.arguments)
        right = all(_meant(name, one, given, heard) for name, one in request.arguments.items())
    except (ValueError, TypeError, WhisperFusionError):
        right = False
    return "right" if right else "wrong"


def _meant(name: str, meant: Any, given: Mapping[str, Any], heard: str) -> bool:
    """Whether the arguments `given` have what `name` means; words that the recognizer did not
    understand do not count.
    """
    match name:
        case "seconds":
            found = sum(float(given.get(unit, 0)) * size for unit, size in SECONDS.items())
            return bool(abs(found - meant) <= meant * 0.01)
        case "value":
            return bool(abs(float(calculated(str(given["expression"]))) - meant) < 0.005)
        case "text" | "query" | "item":
            text = str(given.get({"text": "say"}.get(name, name), "")).lower()
            return all(word in text for word in meant if word in heard.lower())
        case "which":
            return str(meant) in str(given.get("timer", "")).lower()
        case "place" | "artist" | "room":
            text = str(given.get(name, "")).lower().replace("_", " ").removeprefix("the ")
            return str(meant).lower() in text or text in heard.lower() and bool(text)
    return bool(given.get(name) == meant)


def native(request: str, llm: LLM, settings: Settings) -> ToolCall | None:
    """The first call that the model makes by itself."""
    assert isinstance(llm, ToolLLM)
    history = (("system", settings.instructions), ("user", request))
    pieces = llm.stream_chat(
        history,
        max_tokens=120,
        temperature=0.0,
        tools=Tools(tuple(tool.function for tool in TOOLS)),
    )
    with closing(pieces):  # type: ignore[type-var]
        return next((piece for piece in pieces if isinstance(piece, ToolCall)), None)


def routed(request: str, llm: LLM) -> ToolCall | None:
    asked = route((ChatMessage("user", request),), TOOLS, llm, NOW)
    while True:
        try:
            next(asked)
        except StopIteration as ended:
            found: list[tuple[str, ToolCall]] = ended.value
            return found[0][1] if found else None


def models(names: list[str], settings: Settings) -> Iterator[tuple[str, LLM]]:
    for name in names:
        folder = weights(name, "llm", settings)
        path = folder if folder.is_file() else next(folder.glob("*.gguf"))
        yield name, load("llm", "llama.cpp", model=str(path), threads=machine.cores())


def measure(options: argparse.Namespace, settings: Settings) -> None:
    print("| model | way | set | voice | right | wrong | none | processor s a request |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, llm in models(options.models, settings):
        for way in options.ways:
            for one in options.sets:
                for voice in options.voices:
                    counted: Counter[str] = Counter()
                    began = time.process_time()
                    for request in requests(one):
                        heard = request.text if voice == "text" else request.heard[voice]
                        call = (
                            routed(heard, llm) if way == "router" else native(heard, llm, settings)
                        )
                        found = verdict(request, heard, call)
                        counted[found] += 1
                        if options.failures and found != "right":
                            print(f"- {request.id} {heard!r}: {found}, {call}", flush=True)
                    seconds = (time.process_time() - began) / sum(counted.values())
                    print(
                        f"| {name} | {way} | {one} | {voice} | {counted['right']} | "
                        f"{counted['wrong']} | {counted['none']} | {seconds:.2f} |",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--ways", nargs="+", default=["router", "native"])
    parser.add_argument("--sets", nargs="+", default=["first", "held_out"])
    parser.add_argument("--voices", nargs="+", default=sorted(requests("first")[0].heard))
    parser.add_argument("--failures", action="store_true")
    measure(parser.parse_args(), build({}, os.environ, {}))
    os._exit(0)  # llama.cpp's threads abort at a normal exit


if __name__ == "__main__":
    main()
