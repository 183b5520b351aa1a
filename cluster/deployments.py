"""Engines as Ray Serve deployments: the application of app.py, once in each replica.

`build` is what a file such as cluster.yaml names (`import_path`), once for each kind of engine. The
file says what Serve does with the replicas: how many, on what, when there are more. Here is what a
replica is: it loads its engine, answers with the application, and calls itself unhealthy when the
engine is lost for good, so that Serve starts another. Calls of several cells are batched by the
application (decoding.py) and not by `@serve.batch`: that one waits for a batch to fill, while an
engine that is busy has its next batch waiting anyway, and one that is free has nothing to wait for.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.app import UnknownModel, create_app
from cluster.engines import close_with, load_engine, lower_priority, settings_of

USUAL = "usual"  # the model of the settings, for Serve, to which a model without a name is none


class EngineArgs(BaseModel):
    """`args` of an application in the file.

    `models`: the first is the usual one ("" = that of the settings), and the others are loaded when
    a request names them (header `serve_multiplexed_model_id`), at most `loaded` at once. For a
    voice a model is a language, mostly. `at_once` 0 = as many jobs as the engine can do.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["asr", "llm", "tts"]
    engine: str = ""
    models: list[str] = Field([""], min_length=1)
    loaded: int = Field(2, ge=1)
    options: dict[str, str | int | float | bool] = {}
    voice: str = ""
    at_once: int = Field(0, ge=0)


@dataclass(frozen=True)
class Loaded:
    """An engine, in a value without `__del__`: Serve would call that of a model which it unloads,
    while a call may still use it.
    """

    engine: Any


class Replica:
    """Serve constructs it, and then asks for its application (`serve.ingress` without one)."""

    def __init__(self, args: dict[str, Any]) -> None:
        self._args = EngineArgs.model_validate(args)
        lower_priority(self._args.kind)
        self._load: Any = None
        self._service: Any = None

    async def __serve_build_asgi_app__(self) -> Any:
        """Blocks nothing while the engine loads. Serve sends requests once this has returned."""
        from ray import serve

        async def loaded(model: str) -> Loaded:
            name = "" if model == USUAL else model
            return Loaded(await asyncio.to_thread(load, self._args, name))

        self._load = serve.multiplexed(max_num_models_per_replica=self._args.loaded)(loaded)
        usual = await self._engine("")
        at_once = self._args.at_once or getattr(usual, "parallel", None)
        key = os.environ.get("ENGINE_KEY", "")
        app = create_app(self._args.kind, self._engine, key=key, at_once=at_once)
        self._service = app.state.service
        await self._service.about()  # warms what the first caller would wait for
        return app

    def check_health(self) -> None:
        """Serve asks; three errors in a row, and it starts another replica instead."""
        if self._service.health.lost:
            raise RuntimeError(self._service.health.lost)

    async def _engine(self, model: str) -> Any:
        if model and model not in self._args.models:
            raise UnknownModel(model, self._args.models)
        loaded = await self._load(model or self._args.models[0] or USUAL)
        return loaded.engine


def load(args: EngineArgs, model: str) -> Any:
    option = ",".join(f"{name}={value}" for name, value in args.options.items())
    voice = {"tts_voice": args.voice} if args.voice else {}
    engine = load_engine(args.kind, settings_of(args.kind, args.engine, option, **voice), model)
    close_with(engine)
    return engine


def build(args: dict[str, Any]) -> Any:
    """The application of one kind of engine; its one deployment has the name of the kind.

    Raises ValidationError for other arguments than those of `EngineArgs`.
    """
    from ray import serve

    checked = EngineArgs.model_validate(args)
    deployment = serve.deployment(serve.ingress()(Replica))
    return deployment.options(name=checked.kind).bind(checked.model_dump())
