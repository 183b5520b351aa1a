"""The embedded language model fills in the router's form."""

from __future__ import annotations

import json
from datetime import datetime

from tool_requests import TOOLS

from whisperfusion.engines import ConstrainedLLM, ToolCall
from whisperfusion.generation.routing import in_words, is_routed, route
from whisperfusion.messages import ChatMessage

NOW = datetime(2026, 11, 29, 15, 20)
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer"}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


def routed(text: str, llm) -> list[tuple[str, ToolCall]]:
    asked = route((ChatMessage("user", text),), TOOLS, llm, NOW)
    while True:
        try:
            next(asked)
        except StopIteration as ended:
            return ended.value


def test_an_answer_is_of_its_schema(llama):
    assert isinstance(llama, ConstrainedLLM) and is_routed(llama)
    history = (("user", "Which colour has the sky, and how many moons has the earth?"),)
    answer = "".join(llama.stream_json(history, SCHEMA, max_tokens=40))
    given = json.loads(answer)
    assert set(given) == {"colour", "count"} and given["colour"] in ("red", "blue")
    assert "".join(llama.stream_json(history, SCHEMA, max_tokens=40)) == answer


def test_closing_an_answer_leaves_the_engine_usable(llama):
    pieces = llama.stream_json((("user", "Count."),), {"type": "array"}, max_tokens=200)
    next(pieces)
    pieces.close()
    assert "".join(llama.stream_chat((("user", "Say hello."),), max_tokens=4, temperature=0.0))


def test_it_chooses_among_tools_of_others(llama):
    text = "Put milk on my shopping list."
    ((words, call),) = routed(text, llama)
    given = {"list": "shopping", "item": "milk"}
    assert words == text
    assert (call.name, json.loads(call.arguments)) == ("add_to_list", given)


def test_it_says_the_result_of_a_tool(llama):
    given = {"id": "c", "name": "play_music", "arguments": '{"artist": "Miles Davis"}'}
    history = (
        ChatMessage("system", "You are a voice assistant. Answer in one short sentence."),
        ChatMessage("user", "Play some music by Miles Davis."),
        ChatMessage("call", json.dumps(given)),
        ChatMessage("result", json.dumps({"id": "c", "output": "Playing: So What"})),
    )
    said = "".join(llama.stream_chat(in_words(history, ()), max_tokens=40, temperature=0.0))
    assert "So What" in said and "{" not in said
