"""Translates: the web page and everything else that is spoken over HTTP, on port 8000.

It owns no model and no conversation; inwards it is a client of the sockets on 6006 and 8888. main.py
runs it as a process of its own (`run`). `python gateway.py` runs it alone, also on another host.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fusion import process
from fusion.messages import Metrics, Notice, Ready, Stage, TurnLost
from fusion.settings import Settings, SettingsError, add_flags, check_doors, from_command_line

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fusion.gateway.dashboard import Events

NAME = "gateway"
STOP_TIMEOUT_S = 0.6

log = logging.getLogger(NAME)


def build_app(
    settings: Settings, stages: Mapping[str, Stage] | None, counted: Mapping[str, Metrics], events: Events | None = None
) -> FastAPI:
    """The web application. `stages`, `counted` and `events` are where main's news go; no `stages` = knock on the sockets instead."""
    from fastapi import FastAPI
    from fastapi.middleware.cors import CORSMiddleware

    from fusion.gateway import assistant, bazarr, dashboard, docs, errors, forms, health, metrics, page, proxy, realtime_routes, rest
    from fusion.gateway.doors import Doors
    from fusion.gateway.inner import Inner

    app = FastAPI(title="WhisperFusion", docs_url=None, redoc_url=None)  # those pages load scripts from elsewhere
    host = upstream_host(settings)
    look = health.knocking(settings, host) if stages is None else health.told(stages)
    inner, guests = Inner(settings, host), realtime_routes.Guests()
    app.state.inner, app.state.look = inner, look
    for routes in (
        health.router(look), metrics.router(look, counted), page.router(settings, look), proxy.router(settings, host), docs.router(),
        rest.router(settings, inner, look), bazarr.router(settings, inner, look), assistant.router(settings, inner, host),
        realtime_routes.router(settings, inner, look, guests), dashboard.router(look, events),
    ):
        app.include_router(routes)
    page.add_page(app)
    errors.add(app)

    def guest(path: str, key: str) -> bool:
        return path == f"{settings.api_prefix}/realtime" and guests.session(key) is not None

    app.add_middleware(Doors, settings=settings, is_open=page.is_open, guest=guest, largest=lambda path: forms.largest(settings, path))
    if settings.origins:  # added last = outermost: a browser's question about CORS carries no secret
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"])
    return app


def upstream_host(settings: Settings) -> str:
    """Where 6006 and 8888 are, ready for a URL."""
    here = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    host = settings.upstream_host or here.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """A bound and listening socket; port 0 = any free one. Raises `SettingsError` if it cannot be had."""
    try:
        if host == "::" and socket.has_dualstack_ipv6():
            listener = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # asyncio sets this on its own sockets only; without it every answer in two writes waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # below 0: the name was not found
        raise SettingsError(f"cannot listen on {host}:{port} ({reason}); choose another HOST or HTTP_PORT") from error


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    """The process that main.py starts: news about stages come in, `Ready` and a `Beat` every second go out.

    Stops within a second on SIGTERM or on None in the inbox.
    """
    asyncio.run(_run(settings, inbox, outbox))


async def _run(settings: Settings, inbox: Any, outbox: Any) -> None:
    from fusion.gateway.dashboard import Events

    started = time.monotonic()
    stages: dict[str, Stage] = {}
    counted: dict[str, Metrics] = {}
    events = Events()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)

    def take(news: Stage | Metrics | Notice | TurnLost) -> None:
        if isinstance(news, Metrics):
            counted[news.name] = news
            return
        if isinstance(news, Stage):
            if stages.get(news.name) == news:
                return
            stages[news.name] = news
            if news.state == "down":
                counted.pop(news.name, None)
        events.tell(news)

    def tell(news: Stage | Metrics | Notice | TurnLost) -> None:
        loop.call_soon_threadsafe(take, news)

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed: SIGTERM came before the last news
            process.read_inbox(inbox, tell)
            loop.call_soon_threadsafe(stopping.set)

    def ready(address: str) -> None:
        outbox.put(Ready(NAME, "fastapi", "", address, time.monotonic() - started))

    threading.Thread(target=read, name="inbox", daemon=True).start()
    beats = asyncio.create_task(process.beat(NAME, outbox, lambda: None, stopping))
    try:
        await serve(settings, stages, stopping, ready, counted, events)
    finally:
        beats.cancel()


async def serve(
    settings: Settings, stages: Mapping[str, Stage] | None, stopping: asyncio.Event, ready: Callable[[str], None],
    counted: Mapping[str, Metrics] | None = None, events: Events | None = None,
) -> None:
    """Listen, call `ready` with the address, and serve until `stopping` is set."""
    import uvicorn

    from fusion.gateway.proxy import LARGEST_MESSAGE
    from fusion.gateway.wyoming import Server as Wyoming

    listener = listen(settings.host, settings.http_port)
    host, port = listener.getsockname()[:2]
    app = build_app(settings, stages, {} if counted is None else counted, events)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",  # below it every line holds the query string, and that may hold the secret
        access_log=False,
        server_header=False,
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Server.serve() would take over the signals, which belong to this process; these are its three steps.
    await server.startup(sockets=[listener])
    loop = asyncio.create_task(server.main_loop())
    others = Wyoming(settings, app.state.inner, app.state.look) if settings.wyoming_port else None
    if others is not None:
        try:
            await others.start()
        except OSError as error:
            where = f"{settings.host}:{settings.wyoming_port}"
            raise SettingsError(f"cannot listen on {where} ({error.strerror}); choose another WYOMING_PORT") from error
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    await asyncio.wait((loop, asyncio.create_task(stopping.wait())), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    if events is not None:
        events.end()
    if others is not None:
        await others.close()
    await loop
    try:
        await asyncio.wait_for(server.shutdown(sockets=[listener]), STOP_TIMEOUT_S)
    except asyncio.TimeoutError:
        log.info("some connections did not close in time and were cut")


async def _run_alone(settings: Settings) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    await serve(settings, None, stopping, lambda address: log.info("the page is at %s", address))


def main(arguments: Sequence[str]) -> int:
    """`python gateway.py`: the gateway without the other processes, for the sockets at --upstream-host."""
    parser = argparse.ArgumentParser(prog="gateway.py", description="The page and the HTTP side of WhisperFusion, alone.")
    add_flags(parser)
    try:
        settings, _ = from_command_line(arguments, parser)
        process.set_up_logging(settings.log_level)
        check_doors(settings)
        asyncio.run(_run_alone(settings))
    except SettingsError as error:
        print(f"gateway.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
