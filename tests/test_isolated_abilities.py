"""What an engine has, it has in another interpreter, too: attributes, methods, abilities, and every
field of every value that crosses. No interpreter is started here.

A new attribute, ability, flag, field or kind of error makes one of these tests fail until it is
passed on, or the table here says why it need not be.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import asdict, fields
from types import SimpleNamespace
from typing import Any

import pytest
from engine_checks import accepts, own_methods

from whisperfusion import errors
from whisperfusion.engines import ENGINES, ASROptions, Entry, Hypothesis, Segment, Word, protocols
from whisperfusion.engines.elsewhere import adapters, calls
from whisperfusion.engines.elsewhere.adapters import engine_error
from whisperfusion.engines.isolated import engine
from whisperfusion.wire import engine_pipe as wire

# flag of the registry -> the ability that an engine of it has, or why there is none
FLAGS: dict[str, Any] = {
    "batch": protocols.BatchASR,
    "language_detection": protocols.LanguageDetectingASR,
    "tools": protocols.ToolLLM,
    "warm_up": protocols.WarmLLM,
    "constrained": protocols.ConstrainedLLM,
    "multilingual": protocols.MultilingualTTS,
    "streaming": "whatever gives pieces gives them one by one",
    "cloning": protocols.CloningTTS,
    "end_of_turn": "a field of Hypothesis",
    "by_url": "where it runs, which is read off the registry",
}
# public by name, and read by the engine alone
# pieces that only a chain gives, which runs in the process of the call
OF_CHAINS = (protocols.Answering, protocols.Interrupted)
INTERNAL = {"context", "beam_size", "delay_s", "place", "read"} | {
    "create_utterances",
    "http",
    "live_query",
    "pool",
    "timeout_s",
}
ABILITIES = {
    name: one
    for name, one in vars(protocols).items()
    if getattr(one, "_is_runtime_protocol", False)
    and one is not protocols.RestartedTTS  # it is that of isolated voices
    # passes of an utterance share a stream to a server, which needs no other interpreter
    and one is not protocols.SharingASR
}


def there(kind: str, *able: str, **attributes: Any) -> Any:
    """The engine as the services see it."""
    bases = (*(engine.ABILITIES[name] for name in able), engine.BASES[kind])
    return type("There", bases, {})(SimpleNamespace(attributes=attributes, close=lambda: None))


def crossed(value: Any) -> Any:
    """After the pipe."""
    parts = wire.encode(wire.Done(1, value))
    (message,) = wire.Decoder().feed(b"".join(bytes(part) for part in parts))
    return message.value


def filled(kind: type) -> Any:
    """An instance of which no field has its default."""
    examples = {
        "str": "text",
        "str | None": "de",
        "float": 0.25,
        "float | None": 0.75,
        "bool": True,
        "tuple[str, ...]": ("es", "fr"),
        "tuple[Word, ...]": (Word(0.1, 0.2, "word", 0.3),),
        "tuple[Segment, ...]": (filled(Segment),) if kind is Hypothesis else (),
    }
    made = kind(**{one.name: examples[str(one.type)] for one in fields(kind)})
    assert not any(getattr(made, one.name) == one.default for one in fields(kind))
    return made


@pytest.mark.parametrize("kind", engine.BASES)
def test_every_attribute_that_a_protocol_promises_is_there(kind: str) -> None:
    promised = {name: object() for name in calls.PROTOCOLS[kind].__annotations__}
    made = there(kind, **promised)
    assert {name: getattr(made, name) for name in promised} == promised


def test_every_ability_is_one_over_there() -> None:
    assert set(ABILITIES) == {one.__name__ for one in calls.ABILITIES} == set(engine.ABILITIES)
    for name, protocol in ABILITIES.items():
        base = engine.ABILITIES[name]
        for method, promised in own_methods(protocol).items():
            assert accepts(getattr(base, method), promised), (name, method)


def test_every_attribute_of_an_ability_is_there() -> None:
    for name, protocol in ABILITIES.items():
        kind = next(
            kind for kind, base in engine.BASES.items() if issubclass(engine.ABILITIES[name], base)
        )
        own = protocol.__annotations__.keys() - calls.PROTOCOLS[kind].__annotations__.keys()
        values = {one: {"a": "en"} for one in own}
        made = there(kind, name, **dict.fromkeys(calls.PROTOCOLS[kind].__annotations__), **values)
        for one, value in crossed({key: calls.plain(v) for key, v in values.items()}).items():
            assert getattr(made, one) in (value, True), (name, one)
        assert isinstance(made, protocol)


@pytest.mark.parametrize("kind", engine.BASES)
def test_every_method_that_a_protocol_promises_is_there(kind: str) -> None:
    for name, promised in own_methods(calls.PROTOCOLS[kind]).items():
        assert accepts(getattr(engine.BASES[kind], name), promised), name
    for name, promised in own_methods(protocols.Utterance).items():
        assert accepts(getattr(engine.IsolatedUtterance, name), promised), name


def test_every_flag_of_the_registry_is_an_ability_or_needs_none() -> None:
    assert set(FLAGS) == {one.name for one in fields(Entry) if one.type == "bool"}
    known = [one for one in FLAGS.values() if not isinstance(one, str)]
    assert sorted(known, key=str) == sorted(ABILITIES.values(), key=str)


def public_names(made: type) -> set[str]:
    """Methods, and what `self` gets."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(made))).body
    assigned = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return {name for name in assigned | set(vars(made)) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        pytest.param(kind, entry, id=f"{kind} {name}")
        for kind in engine.BASES
        for name, entry in ENGINES[kind].items()
    ],
)
def test_an_engine_offers_nothing_that_no_protocol_promises(kind: str, entry: Entry) -> None:
    promised = set(calls.PROTOCOLS[kind].__annotations__) | set(own_methods(calls.PROTOCOLS[kind]))
    for protocol in ABILITIES.values():
        promised |= set(protocol.__annotations__) | set(own_methods(protocol))
    offered = public_names(entry.load_class())
    assert offered - INTERNAL <= promised, "a new ability: give it a protocol, and pass it on"


def test_every_field_of_a_transcript_arrives() -> None:
    found = filled(Hypothesis)
    assert adapters.hypothesis(crossed(asdict(found))) == found
    assert calls.asr_options(crossed(asdict(filled(ASROptions)))) == filled(ASROptions)


@pytest.mark.parametrize(
    "piece",
    [
        "text",
        protocols.ToolCall("c1", "look", "{}"),
        *(
            one()
            for one in vars(protocols).values()
            if isinstance(one, type) and issubclass(one, str) and one not in (str, *OF_CHAINS)
        ),
    ],
    ids=lambda piece: type(piece).__name__,
)
def test_every_kind_of_piece_arrives(piece: Any) -> None:
    arrived = adapters.answer_piece(wire.Piece(1, crossed(calls.plain_piece(piece))))
    assert type(arrived) is type(piece) and arrived == piece


@pytest.mark.parametrize(
    "kind",
    [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.EngineError)
    ],
)
def test_every_kind_of_error_arrives(kind: type) -> None:
    class OfALibrary(kind):  # type: ignore[misc, valid-type]
        """What an adapter makes of it for itself."""

    for raised in (kind("because"), OfALibrary("because")):
        arrived = engine_error(crossed(calls.kind_of(raised)), "because")
        assert type(arrived) is kind and str(arrived) == "because"
