"""tensorrt_llm, whisperspeech and their neighbours as recorded signatures: what a test without a
GPU can hold an engine to.

Modules are made from data/tensorrt_llm_0_10_signatures.json. Each recorded callable binds its
arguments as the real one would (TypeError otherwise; of overloads any may fit), notes the call, and
hands it to a behaviour that the test supplies. What is not recorded is not there: AttributeError.
What an engine may do wrong in meaning rather than in form (types, order, threads) is for the
behaviours to check.

    with fake_gpu.installed("tensorrt_llm", "torch") as gpu:      # "torch": the tiny one of
                                                                  # fake_torch.py
        @gpu.on("tensorrt_llm.runtime.Session.run")
        def run(session, inputs, outputs, stream, context): ...   # methods get their object, class
                                                                  # methods their class
        ...
        assert gpu.arguments("tensorrt_llm.runtime.Session.run") == [{"inputs": …, …}]
"""

from __future__ import annotations

import ast
import enum
import inspect
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_torch

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "tensorrt_llm_0_10_signatures.json").read_text(
        encoding="utf-8"
    )
)
CALLABLES = {name: entry for name, entry in RECORDED.items() if not name.startswith("_")}
ATTRIBUTES = {
    name: {one["name"]: one["writable"] for one in entries}
    for name, entries in RECORDED["_bindings_attributes"].items()
}
ENUMS: dict[str, list[str]] = RECORDED["_bindings_enums"]


@dataclass(frozen=True)
class Source:
    """A default that is an expression, such as SamplingConfig(): its text."""

    text: str


@dataclass(frozen=True)
class Call:
    name: str
    arguments: dict[str, Any]  # defaults included
    given: frozenset[str]  # names that were passed
    this: Any  # the object or the class, None for functions
    thread: int


class Fake:
    """The installed modules: `calls` in order, behaviours by dotted name."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self.calls: list[Call] = []
        self.modules: dict[str, ModuleType] = {}
        self._behaviours: dict[str, Callable[..., Any]] = {}
        self._classes: dict[str, type] = {}
        for name in [*CALLABLES, *ENUMS, *ATTRIBUTES]:
            if name.split(".")[0] in roots:
                self._place(name)
        # the package shows the logger object under the name of its module
        if "tensorrt_llm" in roots:
            vars(self.modules["tensorrt_llm"])["logger"] = self.new("tensorrt_llm.logger.Logger")

    # --- what tests use --------------------------------------------------------------------------

    def on(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: the behaviour of a recorded callable.

        It gets the object or class if there is one, and the bound arguments by name, defaults
        included (`*args` as a tuple and `**kwargs` as a dict under their names).
        """
        assert name in CALLABLES, f"{name} is not recorded"

        def take(behaviour: Callable[..., Any]) -> Callable[..., Any]:
            self._behaviours[name] = behaviour
            return behaviour

        return take

    def new(self, name: str, /, **attributes: Any) -> Any:
        """An object of a recorded class without its constructor; read-only attributes are set
        too.
        """
        made = object.__new__(self._classes[name])
        vars(made).update(attributes)
        return made

    def arguments(self, name: str) -> list[dict[str, Any]]:
        assert name in CALLABLES, f"{name} is not recorded"
        return [call.arguments for call in self.calls if call.name == name]

    def threads(self, name: str) -> set[int]:
        return {call.thread for call in self.calls if call.name == name}

    # --- how calls go ----------------------------------------------------------------------------

    def _call(self, name: str, this: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = bind(name, args, kwargs)
        given = frozenset(bound.arguments)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        self.calls.append(Call(name, arguments, given, this, threading.get_ident()))
        behaviour = self._behaviours.get(name) or self._behaviours.get(
            CALLABLES[name].get("alias_of", "")
        )
        if behaviour is not None:
            return behaviour(*([] if this is None else [this]), **arguments)
        if "constructor" not in CALLABLES[name]["binding"]:
            raise AssertionError(f"{name} was called, and the test gave it no behaviour")
        return None

    # --- how modules are made --------------------------------------------------------------------

    def _module(self, name: str) -> ModuleType:
        if name not in self.modules:
            module = self.modules[name] = Recorded(name)
            module.__path__, module.__spec__ = [], ModuleSpec(name, None, is_package=True)
            parent, _, leaf = name.rpartition(".")
            if parent:
                vars(self._module(parent))[leaf] = module
        return self.modules[name]

    def _class(self, name: str) -> type:
        if name not in self._classes:
            parent, _, leaf = name.rpartition(".")
            if name in ENUMS:
                made: Any = enum.Enum(leaf, ENUMS[name], module=parent)
            else:
                base = Bound if ".bindings." in name else Plain
                made = type(leaf, (base,), {"__module__": parent, "_dotted": name, "_fake": self})
                for attribute, writable in ATTRIBUTES.get(name, {}).items():
                    setattr(made, attribute, bound_property(name, attribute, writable))
                if name in CALLABLES:
                    made.__signature__ = SIGNATURES[name][0]
            self._classes[name] = made
            vars(self._module(parent))[leaf] = made
        return self._classes[name]

    def _place(self, name: str) -> None:
        binding = (
            "constructor" if name in ENUMS or name in ATTRIBUTES else CALLABLES[name]["binding"]
        )
        parent, _, leaf = name.rpartition(".")
        if "constructor" in binding:
            self._class(name)
        elif binding == "function":
            vars(self._module(parent))[leaf] = self._function(name)
        else:
            setattr(self._class(parent), leaf, self._method(name, binding))

    def _function(self, name: str) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, None, args, kwargs)

        function.__name__, function.__qualname__ = name.rpartition(".")[2], name
        function.__signature__ = SIGNATURES[name][0]  # type: ignore[attr-defined]
        return function

    def _method(self, name: str, binding: str) -> Any:
        if binding == "static method":
            return staticmethod(self._function(name))

        def method(this: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(name, this, args, kwargs)

        first = Parameter("cls" if binding == "class method" else "self", Parameter.POSITIONAL_ONLY)
        signature = SIGNATURES[name][0]
        method.__name__, method.__qualname__ = name.rpartition(".")[2], name
        method.__signature__ = Signature([first, *signature.parameters.values()])  # type: ignore[attr-defined]
        return classmethod(method) if binding == "class method" else method


class Recorded(ModuleType):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self.__name__}.{name} is not in the recorded signatures of "
            f"{self.__name__.split('.')[0]}"
        )


class Plain:
    """An object of a Python class.

    Behaviours may set what its constructor sets in truth (`this.session = …`).
    """

    _dotted: str
    _fake: Fake

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self._dotted not in CALLABLES:
            raise TypeError(f"no constructor of {self._dotted} is recorded; use its factory")
        entry = CALLABLES[self._dotted]
        if entry["binding"] == "dataclass constructor":
            for extra in entry.get("attributes_set_after_init", []):
                setattr(self, extra["name"], default(extra.get("default", "None")))
            bound = bind(self._dotted, args, kwargs)
            bound.apply_defaults()
            vars(self).update(bound.arguments)
        self._fake._call(self._dotted, self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{type(self)._dotted}.{name} is not recorded, and the test's behaviour did not set it"
        )


class Bound(Plain):
    """An object of a pybind11 class: exactly its recorded attributes, of which some are
    read-only; it cannot be copied.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bound = bind(self._dotted, args, kwargs)
        bound.apply_defaults()
        known = ATTRIBUTES.get(self._dotted, {})
        vars(self).update(
            {f"_{name}": value for name, value in bound.arguments.items() if name in known}
        )
        self._fake._call(self._dotted, self, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ATTRIBUTES.get(self._dotted, {}):
            self.__getattr__(name)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(ATTRIBUTES.get(self._dotted, {})) or "none"
        raise AttributeError(f"{self._dotted} has no attribute {name}; recorded are {known}")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {self._dotted!r} object")


def bound_property(owner: str, name: str, writable: bool) -> property:
    def read(this: Any) -> Any:
        if f"_{name}" in vars(this):
            return vars(this)[f"_{name}"]
        if name in vars(this):  # from Fake.new
            return vars(this)[name]
        # as Response.result of an error does
        raise RuntimeError(f"{owner}.{name} was never given: it may not be asked for")

    def write(this: Any, value: Any) -> None:
        vars(this)[f"_{name}"] = value

    return property(read, write if writable else None)


def default(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return Source(text)


def signatures(entry: dict[str, Any]) -> list[Signature]:
    """All ways of calling what `entry` records, without self or cls."""

    def one(parameters: list[dict[str, Any]]) -> Signature:
        return Signature(
            [
                Parameter(
                    p["name"],
                    getattr(Parameter, p["kind"]),
                    default=default(p["default"]) if p["has_default"] else Parameter.empty,
                )
                for p in parameters
            ]
        )

    return [one(parameters) for parameters in entry.get("overloads") or [entry["parameters"]]]


# Made once, before any thread calls: CPython 3.11 that parses in two threads may raise "AST
# constructor recursion depth mismatch".
SIGNATURES = {name: signatures(entry) for name, entry in CALLABLES.items()}


def bind(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """The arguments bound to the signature, or to the first overload that fits; TypeError says
    which there are.
    """
    possible, problem = SIGNATURES[name], ""
    for signature in possible:
        try:
            return signature.bind(*args, **kwargs)
        except TypeError as error:
            problem = str(error)
    raise TypeError(f"{name}: {problem}; recorded: {' or '.join(map(str, possible))}")


@contextmanager
def installed(*roots: str) -> Iterator[Fake]:
    """Put the fakes of these top-level packages into sys.modules ("torch" is fake_torch), and
    take them out again.
    """
    fake = Fake(roots)
    modules: dict[str, ModuleType] = {
        **fake.modules,
        **(fake_torch.modules() if "torch" in roots else {}),
    }
    missing = set(roots) - {name.split(".")[0] for name in modules}
    assert not missing, f"nothing is recorded of {', '.join(sorted(missing))}"
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] in roots}
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield fake
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in roots]:
            del sys.modules[name]
        sys.modules.update(hidden)
