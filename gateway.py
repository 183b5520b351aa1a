"""The gateway: public protocols over HTTP and WebSocket, and the web page, on port 8000.

It owns no model and no conversation: it translates each protocol, and is a client of the sockets on
6006 and 8888. main.py runs it as a process of its own (`run`). `python gateway.py` runs it alone,
also on another host.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from whisperfusion import __version__
from whisperfusion.errors import SettingsError
from whisperfusion.messages import Drain, Drained, Metrics, Notice, Ready, Stage, TurnLost
from whisperfusion.runtime import event_loop as loop
from whisperfusion.runtime import process
from whisperfusion.runtime.listener import (
    Listener,
    listen_on,
    max_connections,
    raise_descriptor_limit,
    url_host,
)
from whisperfusion.runtime.peers import Network
from whisperfusion.runtime.redaction import keep_keys_out_of_logs
from whisperfusion.settings import Settings, add_flags, check_access, from_command_line

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from whisperfusion.gateway.access.tls import Https
    from whisperfusion.gateway.decoding.pool import DecoderPool
    from whisperfusion.gateway.draining import Draining
    from whisperfusion.gateway.operations.dashboard import EventLog
    from whisperfusion.gateway.realtime.client_secrets import ClientSecrets
    from whisperfusion.gateway.wyoming.server import Server as Wyoming

NAME = "gateway"
# file descriptors: its own, and one for each of the two upstream sockets
CONNECTION_COSTS = 3
STOP_TIMEOUT_S = 0.6

log = logging.getLogger(NAME)


def build_app(
    settings: Settings,
    stages: Mapping[str, Stage] | None,
    by_process: Mapping[str, Metrics],
    events: EventLog | None = None,
    https: Https | None = None,
    draining: Draining | None = None,
) -> FastAPI:
    """The web application.

    `stages`, `by_process` and `events` hold what main sends; without `stages` the sockets are
    probed instead. `https`: where HTTPS is on, the authority that phones install, and pairing.
    """
    from fastapi import FastAPI

    from whisperfusion.gateway import errors, page
    from whisperfusion.gateway.decoding.pool import DecoderPool
    from whisperfusion.gateway.draining import Draining
    from whisperfusion.gateway.realtime.client_secrets import ClientSecrets

    decoders = DecoderPool()

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        async with decoders.running(), app.state.batches.running():
            yield

    app = FastAPI(
        title="WhisperFusion",
        version=__version__,
        # FastAPI's own documentation pages load scripts from other servers
        docs_url=None,
        redoc_url=None,
        lifespan=running,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
    )
    app.state.draining = draining or Draining()
    _add_state(app, settings, stages)
    client_secrets = ClientSecrets(f"{settings.api_prefix}/realtime")
    _add_protocols(app, settings, decoders, client_secrets)
    _add_batches(app, settings, decoders, by_process)
    _add_operations(app, settings, by_process, events, https)
    page.add_page(app)
    errors.add(app)
    _add_middleware(app, settings, client_secrets)
    return app


def _add_state(app: FastAPI, settings: Settings, stages: Mapping[str, Stage] | None) -> None:
    """What the routes share: health of the stages, the upstream sockets, limits."""
    from whisperfusion.agents import Agents
    from whisperfusion.gateway.operations import health
    from whisperfusion.gateway.upstream import Upstream
    from whisperfusion.runtime.rate_limits import Limits

    host = upstream_host(settings)
    if stages is None:
        app.state.snapshot = health.by_probing(settings, host)
    else:
        app.state.snapshot = health.from_supervisor(stages)
    app.state.upstream = Upstream(settings, host)
    app.state.limits = Limits(settings.rate_limit, settings.calls_limit)
    app.state.agents = Agents(settings.agents)


def _add_protocols(
    app: FastAPI, settings: Settings, decoders: DecoderPool, client_secrets: ClientSecrets
) -> None:
    """One router for each public protocol."""
    from whisperfusion.gateway import bazarr, proxy, sessions
    from whisperfusion.gateway.assistant import routes as assistant
    from whisperfusion.gateway.realtime import routes as realtime
    from whisperfusion.gateway.realtime.agents import SessionAgents
    from whisperfusion.gateway.rest import routes as rest
    from whisperfusion.runtime.devices import Devices

    upstream, snapshot, host = app.state.upstream, app.state.snapshot, upstream_host(settings)
    agents = app.state.agents
    session_agents = SessionAgents(settings, agents, Devices(settings.https_dir))
    app.include_router(proxy.router(settings, host))
    app.include_router(rest.router(settings, upstream, decoders, snapshot, agents))
    app.include_router(bazarr.router(settings, upstream, decoders, snapshot))
    app.include_router(assistant.router(settings, upstream, decoders, host))
    app.include_router(
        realtime.router(settings, upstream, session_agents, snapshot, client_secrets)
    )
    app.include_router(sessions.router(settings))


def _add_batches(
    app: FastAPI, settings: Settings, decoders: DecoderPool, by_process: Mapping[str, Metrics]
) -> None:
    """Files and batches, whose requests wait while load is shed for callers."""
    from whisperfusion.gateway.batches import routes
    from whisperfusion.gateway.batches.requests import Requests
    from whisperfusion.gateway.batches.runner import Runner
    from whisperfusion.gateway.batches.store import Store

    def busy() -> bool:
        values = (pair for metrics in by_process.values() for pair in metrics.values)
        return app.state.draining.started or any(
            name == "degradation_level" and value >= 1 for name, value in values
        )

    store = Store(settings.batches_dir, time.time)
    requests = Requests(app.state.upstream, decoders, app.state.snapshot, app.state.limits)
    app.state.batches = Runner(store, requests, settings.api_prefix, busy)
    app.include_router(routes.router(settings, app.state.batches, store))


def _add_operations(
    app: FastAPI,
    settings: Settings,
    by_process: Mapping[str, Metrics],
    events: EventLog | None,
    https: Https | None,
) -> None:
    """Health, metrics, dashboard, the page's data, documentation and HTTPS."""
    from whisperfusion.gateway import docs, page
    from whisperfusion.gateway.access import install, pairing
    from whisperfusion.gateway.operations import (
        dashboard,
        health,
        metrics,
        readiness,
        tools,
        traces,
    )
    from whisperfusion.gateway.operations.disk import DiskSpace

    snapshot = app.state.snapshot
    app.include_router(health.router(snapshot))
    draining = app.state.draining
    app.include_router(readiness.router(snapshot, by_process, lambda: draining.started))
    disk = DiskSpace(settings.batches_dir)
    app.include_router(metrics.router(snapshot, by_process, app.state.batches.metrics, disk))
    app.include_router(page.router(settings, app.state.agents, snapshot))
    app.include_router(docs.router())
    app.include_router(dashboard.router(snapshot, events))
    app.include_router(traces.router(settings))
    app.include_router(tools.router(settings, by_process))
    app.include_router(install.router(https.authority if https else None))
    app.include_router(pairing.router(settings, https.pairing if https else None))


def _add_middleware(app: FastAPI, settings: Settings, client_secrets: ClientSecrets) -> None:
    """The middleware that is added last is the outermost."""
    from fastapi.middleware.cors import CORSMiddleware

    from whisperfusion.gateway import forms, page
    from whisperfusion.gateway.access.middleware import AccessMiddleware
    from whisperfusion.gateway.access.root_path import RootPathMiddleware
    from whisperfusion.gateway.access.tls import PlainHttpMiddleware
    from whisperfusion.gateway.draining import DrainingMiddleware
    from whisperfusion.gateway.request_ids import RequestIdMiddleware

    app.add_middleware(DrainingMiddleware, draining=app.state.draining, is_public=page.is_public)
    app.add_middleware(
        AccessMiddleware,
        settings=settings,
        is_public=page.is_public,
        client_secrets=client_secrets,
        largest=lambda path: forms.largest(settings, path),
        limits=app.state.limits,
    )
    if settings.origins:  # outside of access control: a preflight request carries no key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID"],
        )
    if settings.secure:
        app.add_middleware(PlainHttpMiddleware, root=settings.root_path)
    if settings.root_path:
        app.add_middleware(RootPathMiddleware, root=settings.root_path)
    app.add_middleware(RequestIdMiddleware)


def upstream_host(settings: Settings) -> str:
    """The host of 6006 and 8888, as it is written in a URL."""
    here = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    host = settings.upstream_host or here.get(settings.host, settings.host)
    return url_host(host)


def listen(host: str, port: int, proxies: Sequence[Network] = ()) -> Listener:
    """A bound and listening socket; port 0 = any free one.

    Raises `SettingsError` if it cannot be bound.
    """
    return listen_on(host, port, "HTTP_PORT", max_connections(CONNECTION_COSTS), proxies)


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    """The process that main.py starts: messages about stages come in; `Ready` and a `Heartbeat`
    every second go out.

    Stops within a second on SIGTERM or on None in the inbox.
    """
    loop.run(_run(settings, inbox, outbox))


async def _run(settings: Settings, inbox: Any, outbox: Any) -> None:
    from whisperfusion.gateway.operations.dashboard import EventLog

    started = time.monotonic()
    stages: dict[str, Stage] = {}
    by_process: dict[str, Metrics] = {}
    events = EventLog()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    def receive(message: Stage | Metrics | Notice | TurnLost | Drain) -> None:
        match message:
            case Drain(within_s):
                server.drain(within_s, lambda: outbox.put(Drained(NAME)))
                return
            case Metrics(name):
                by_process[name] = message
                return
            case Stage(name):
                if stages.get(name) == message:
                    return
                stages[name] = message
                if message.state == "down":
                    by_process.pop(name, None)
        events.publish(message)

    def ready(address: str) -> None:
        loaded_s = time.monotonic() - started
        process.report_ready(outbox, Ready(NAME, "fastapi", "", address, loaded_s))

    server = Server(settings, stages, by_process, events)
    process.start_inbox_thread(inbox, receive, stopping)
    heartbeats = asyncio.create_task(
        process.send_heartbeats(NAME, outbox, lambda: None, stopping, server.served)
    )
    try:
        await server.run(stopping, ready)
    finally:
        heartbeats.cancel()


class Server:
    """The HTTP server on its port, with HTTPS and the Wyoming server where they are on."""

    def __init__(
        self,
        settings: Settings,
        stages: Mapping[str, Stage] | None,
        by_process: Mapping[str, Metrics] | None = None,
        events: EventLog | None = None,
    ) -> None:
        self._settings, self._stages = settings, stages
        self._by_process = {} if by_process is None else by_process
        from whisperfusion.gateway.draining import Draining

        self._events = events
        self._http: uvicorn.Server | None = None
        self._wyoming: Wyoming | None = None
        self._draining = Draining()

    @property
    def draining(self) -> bool:
        return self._draining.started

    def served(self) -> int:
        """Requests since the start."""
        return self._http.server_state.total_requests if self._http is not None else 0

    def drain(self, within_s: float, done: Callable[[], object]) -> None:
        """Admit nothing more; `done` is called when what was admitted has ended."""
        if self._wyoming is not None:
            self._wyoming.stop_listening()
        self._draining.start(within_s, done)

    async def run(self, stopping: asyncio.Event, ready: Callable[[str], None]) -> None:
        """Listen, call `ready` with the address, and serve until `stopping` is set."""
        from whisperfusion.gateway.access.tls import Https
        from whisperfusion.gateway.wyoming.server import Server as Wyoming

        settings = self._settings
        listener = listen(settings.host, settings.http_port, settings.proxies)
        host, port = listener.getsockname()[:2]
        https = Https(settings, port) if settings.secure else None
        app = build_app(
            settings, self._stages, self._by_process, self._events, https, self._draining
        )
        self._http = http = _http_server(app, listener)
        # Server.serve() would take over the signals, which belong to this process; startup,
        # main_loop and shutdown are its three steps.
        await http.startup(sockets=[] if https else [listener])
        if https is not None:
            https.start(listener, _protocol_factory(http), self._stages)
        serving = asyncio.create_task(http.main_loop())
        if settings.wyoming_port:
            state = app.state
            self._wyoming = Wyoming(
                settings, state.upstream, state.snapshot, state.limits, self._draining.work
            )
            await self._wyoming.start()
        ready(f"{'https' if https else 'http'}://{url_host(host)}:{port}")
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
        http.should_exit = True
        if self._events is not None:
            self._events.close()
        for other in (self._wyoming, https):
            if other is not None:
                await other.close()
        await serving
        try:
            await asyncio.wait_for(http.shutdown(sockets=[listener]), STOP_TIMEOUT_S)
        except asyncio.TimeoutError:
            log.info("some connections did not close in time and were aborted")


def _http_server(app: FastAPI, listener: Listener) -> uvicorn.Server:
    import uvicorn

    from whisperfusion.gateway.access import admission
    from whisperfusion.gateway.proxy import LARGEST_MESSAGE

    config = uvicorn.Config(
        admission.CapacityMiddleware(app, listener),
        http=admission.http_protocol_for(listener),
        ws=admission.WebSocketProtocol,
        # uvicorn trusts every program of this machine; the access middleware TRUSTED_PROXIES
        proxy_headers=False,
        log_config=None,
        # below it every line has the query string, which may contain a key
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


def _protocol_factory(http: uvicorn.Server) -> Callable[[], asyncio.Protocol]:
    """Makes uvicorn's protocol for a connection that another listener accepted."""
    protocol: Any = http.config.http_protocol_class
    return lambda: protocol(http.config, http.server_state, http.lifespan.state)


async def _run_alone(settings: Settings) -> None:
    stopping, server = asyncio.Event(), Server(settings, None)

    def terminate() -> None:
        if settings.drain_s and not server.draining:
            server.drain(settings.drain_s, stopping.set)
        else:
            stopping.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    loop.STALL_MONITOR.start()
    await server.run(stopping, lambda address: log.info("the page is at %s", address))


def main(arguments: Sequence[str]) -> int:
    """`python gateway.py`: the gateway without the other processes, for the sockets at
    --upstream-host.
    """
    parser = argparse.ArgumentParser(
        prog="gateway.py", description="The page and the HTTP side of WhisperFusion, alone."
    )
    add_flags(parser)
    try:
        settings, _ = from_command_line(arguments, parser)
        process.set_up_logging(settings.log_level, settings.log_format, NAME)
        keep_keys_out_of_logs(settings)
        check_access(settings)
        raise_descriptor_limit(callers=0)
        loop.run(_run_alone(settings))
    except SettingsError as error:
        print(f"gateway.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
