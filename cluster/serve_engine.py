"""One engine as a server, without Ray: `python -m cluster.serve_engine asr --port 8100`.

SIGTERM ends it in order: `healthz` and new requests get 503, jobs and utterances that run may
finish for `--drain` seconds. A second one, or SIGINT, ends it at once. It also ends, with status
70, when the engine is lost for good. Without `--key` it listens on this machine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

import uvicorn

from cluster.app import create_app
from cluster.calls import BODY_LIMIT
from cluster.engines import KINDS, Models, load_engine, lower_priority, settings_of
from whisperfusion.errors import WhisperFusionError
from whisperfusion.runtime import process
from whisperfusion.settings import is_loopback

LOST = 70  # exit status
TICK_S = 0.1
KEPT_S = 75  # idle connections: longer than those of cells, which would else be asked too late


def parser() -> argparse.ArgumentParser:
    asked = argparse.ArgumentParser(
        prog="python -m cluster.serve_engine",
        description="Serves one engine to cells on other machines (docs/cluster.md). What is not "
        "given here is read from the settings of a cell, such as ASR_ENGINE and MODEL_CACHE_DIR.",
    )
    asked.add_argument("kind", choices=KINDS, help="speech to text, language model, or speech")
    asked.add_argument("--engine", default="", help="name in docs/engines.md; else *_ENGINE")
    asked.add_argument("--model", default="", help="model id, file or folder; else *_MODEL")
    asked.add_argument(
        "--models",
        default="",
        help="more models that a request may name, separated by commas, each loaded when it is "
        "first asked for",
    )
    asked.add_argument("--loaded", type=int, default=2, help="of all models, at once (2)")
    asked.add_argument("--option", default="", help="of the engine: name=value,name=value")
    asked.add_argument("--voice", default="", help="of tts: the usual voice")
    asked.add_argument("--host", default="", help="address to listen on; 127.0.0.1 without a key")
    asked.add_argument("--port", type=int, default=8100, help="(8100)")
    asked.add_argument("--key", default="", help="bearer key that is asked for; else ENGINE_KEY")
    asked.add_argument("--at-once", type=int, default=0, help="jobs that run at the same time")
    asked.add_argument("--drain", type=float, default=30.0, help="seconds after SIGTERM (30)")
    return asked


class Server(uvicorn.Server):
    """Ends in order, as the module says."""

    def __init__(self, config: uvicorn.Config, service: Any, drain_s: float) -> None:
        super().__init__(config)
        self._service, self._drain_s = service, drain_s
        self._asked_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self._asked_at is not None:
            self.should_exit = self.force_exit = True
            return
        self._asked_at = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Each tenth of a second: whether to end."""
        if self._asked_at is not None:
            self._service.draining.set()
            over = time.monotonic() - self._asked_at > self._drain_s
            if over or not self._service.running:
                self.should_exit = True
                self.force_exit = over
        if self._service.health.lost:
            self.should_exit = self.force_exit = True
        return await super().on_tick(counter)


async def serve(arguments: argparse.Namespace) -> int:
    """The exit status."""
    kind, key = arguments.kind, arguments.key or os.environ.get("ENGINE_KEY", "")
    voice = {"tts_voice": arguments.voice} if kind == "tts" else {}
    settings = settings_of(kind, arguments.engine, arguments.option, **voice)
    names = [arguments.model, *filter(None, arguments.models.split(","))]
    models = Models(lambda name: load_engine(kind, settings, name), names, arguments.loaded)
    engine = await models.get("")
    at_once = arguments.at_once or getattr(engine, "parallel", None)
    app = create_app(kind, models.get, key=key, at_once=at_once)
    await app.state.service.about()  # loads and warms what the first caller would wait for
    config = uvicorn.Config(
        app,
        host=arguments.host or ("0.0.0.0" if key else "127.0.0.1"),
        port=arguments.port,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEPT_S,
        ws_max_size=BODY_LIMIT,
        timeout_graceful_shutdown=2,
        lifespan="off",
    )
    server = Server(config, app.state.service, arguments.drain)
    await server.serve()
    return LOST if app.state.service.health.lost else 0


def main() -> None:
    arguments = parser().parse_args()
    process.set_up_logging(os.environ.get("LOG_LEVEL", "info"))
    lower_priority(arguments.kind)
    if (
        arguments.host
        and not is_loopback(arguments.host)
        and not (arguments.key or os.environ.get("ENGINE_KEY"))
    ):
        sys.exit(
            f"--host {arguments.host} can be reached from other machines, and no key is set; give "
            "--key or ENGINE_KEY, or listen on 127.0.0.1"
        )
    try:
        status = asyncio.run(serve(arguments))
    except WhisperFusionError as error:
        sys.exit(str(error))
    process.exit_now(status)


if __name__ == "__main__":
    main()
