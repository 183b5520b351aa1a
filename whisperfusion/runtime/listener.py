"""A listening socket that keeps idle connections from exhausting the server (slow loris).

asyncio's servers accept every connection: one that sends nothing stays open for ever, and when
file descriptors run out, each of 2,000 attempts to accept writes a log line. So `accept` itself is
guarded here, beneath uvicorn, websockets and Wyoming alike: the number of connections is limited in
total and per address, and the head of the first request has to arrive within `HEAD_S`. The server
reports it by `head_received`. At the limit, the oldest connection without a head is closed in
favour of a new one.

One address gets a quarter of the connections. Loopback and trusted proxies stand for many clients
and get three quarters; a reserve is kept for the gateway's own connections and for health checks.
Those can only be recognised by their request head, so a connection beyond the shares is refused
there (`over_capacity`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from whisperfusion.errors import SettingsError
from whisperfusion.runtime.peers import Network, is_local, network, plain, trusted

HEAD_S = 10.0  # to receive the head of a request
QUIET_S = 10.0  # between two log lines about the same problem
MOST = 4096  # connections, however many descriptors there are
DESCRIPTORS = 4  # of a connection to the gateway that is passed on, with a spare one
OWN = 128  # descriptors that the process itself needs: queues, libraries, files
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
GATEWAY = "gateway"  # the group that the gateway's own connections are counted in

log = logging.getLogger("listen")


class AcceptedSocket(socket.socket):
    """An accepted connection; closing it frees its place."""

    listener: Listener
    peer: tuple[Any, ...]
    group: str
    timer: asyncio.TimerHandle  # closes it unless its head is received
    headed: bool = False

    def getpeername(self) -> Any:
        """In canonical form: IPv4 over IPv6 as IPv4. asyncio calls this."""
        return self.peer

    def close(self) -> None:
        self.listener.forget(self)
        super().close()


class LogThrottle:
    """Logs at most one line every `QUIET_S` seconds, with the number of lines left out."""

    def __init__(self) -> None:
        self._next, self._left_out = 0.0, 0

    def warn(self, text: str, *values: Any) -> None:
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        log.warning(text + " (%d more were not logged)", *values, self._left_out)
        self._next, self._left_out = now + QUIET_S, 0


class Listener(socket.socket):
    """Made by `listen_on`. `most`: connections in total."""

    most: int
    proxies: Sequence[Network]

    def guard(self, most: int, proxies: Sequence[Network]) -> Listener:
        self.most, self.proxies = most, proxies
        self._open: dict[tuple[Any, ...], AcceptedSocket] = {}  # the oldest first
        self._counts: Counter[str] = Counter()  # of each address
        self._headed: Counter[str] = (
            Counter()
        )  # of them, with a request head; "" = all but the gateway's
        self._log = LogThrottle()
        self._failed_at = float("-inf")
        return self

    @property
    def reserve(self) -> int:
        return max(2, self.most // 8)

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when no connection waits, and OSError when descriptors ran out.

        asyncio pauses for a second then, but only after as many attempts as its backlog is long.
        """
        if time.monotonic() - self._failed_at < 0.5:
            raise BlockingIOError
        while True:
            try:
                plain_socket, address = super().accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._failed_at = time.monotonic()
                    self._log.warn(
                        "no connection can be accepted (%s); trying again every second",
                        error.strerror,
                    )
                raise
            accepted = AcceptedSocket(
                self.family, self.type, self.proto, fileno=plain_socket.detach()
            )
            peer = (plain(address[0]), *address[1:])
            if self._admitted(accepted, peer):
                return accepted, peer
            super(AcceptedSocket, accepted).close()

    def _admitted(self, accepted: AcceptedSocket, peer: tuple[Any, ...]) -> bool:
        group = network(peer[0])
        share = self.most if self._stands_for_many(peer[0]) else max(4, self.most // 4)
        if self._counts[group] >= share and not self._make_room(group):
            self._log.warn(
                "%s has %d connections open, the limit for one address; more are refused",
                group,
                share,
            )
            return False
        if len(self._open) >= self.most and not self._make_room(""):
            self._log.warn(
                "%d connections are open, the limit of this server; more are refused", self.most
            )
            return False
        accepted.listener, accepted.peer, accepted.group = self, peer, group
        accepted.timer = asyncio.get_running_loop().call_later(HEAD_S, self._shut, accepted)
        self._open[peer[:2]] = accepted
        self._count(self._counts, group, 1)
        return True

    def _stands_for_many(self, address: str) -> bool:
        return is_local(address) or trusted(address, self.proxies)

    def _make_room(self, group: str) -> bool:
        """Close the oldest connection of `group` ("" = all) without a request head."""
        for accepted in self._open.values():
            if not accepted.headed and group in ("", accepted.group):
                self._shut(accepted)
                return True
        return False

    def _shut(self, accepted: AcceptedSocket) -> None:
        """The server sees the end of the stream, as if the client had disconnected."""
        self.forget(accepted)
        with suppress(OSError):
            accepted.shutdown(socket.SHUT_RDWR)

    def forget(self, accepted: AcceptedSocket) -> None:
        if self._open.get(accepted.peer[:2]) is not accepted:
            return
        del self._open[accepted.peer[:2]]
        accepted.timer.cancel()
        self._count(self._counts, accepted.group, -1)
        if accepted.headed:
            self._count_headed(accepted, -1)

    def head_received(self, peer: Sequence[Any] | None, from_gateway: bool = False) -> None:
        """The first request head of `peer` was received. `from_gateway`: by its token, it is the
        gateway's own connection.
        """
        accepted = self._open.get(tuple(peer[:2])) if peer else None
        if accepted is None or accepted.headed:
            return
        accepted.timer.cancel()
        accepted.headed = True
        if from_gateway:
            self._count(self._counts, accepted.group, -1)
            accepted.group = GATEWAY
            self._count(self._counts, GATEWAY, 1)
        self._count_headed(accepted, 1)

    def over_capacity(self, peer: Sequence[Any] | None) -> bool:
        """Whether `peer` exceeds the limits: only the gateway and health checks are served then."""
        accepted = self._open.get(tuple(peer[:2])) if peer else None
        if accepted is None or accepted.group == GATEWAY:
            return False
        most_of_one = self.most - self.most // 4
        return (
            self._headed[""] > self.most - self.reserve
            or self._headed[accepted.group] > most_of_one
        )

    def _count_headed(self, accepted: AcceptedSocket, change: int) -> None:
        self._count(self._headed, accepted.group, change)
        if accepted.group != GATEWAY:
            self._count(self._headed, "", change)

    @staticmethod
    def _count(counter: Counter[str], name: str, change: int) -> None:
        counter[name] += change
        if not counter[name]:
            del counter[name]


def max_connections(each: int) -> int:
    """How many connections this process has file descriptors for; one needs `each` of them."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(8, min(MOST, (soft - min(OWN, soft // 2)) // each))


def raise_descriptor_limit(callers: int) -> None:
    """As many descriptors as `MOST` connections need, where the system allows that; processes that
    are started inherit it. Many systems give a program 1024, which end at some 300 calls through
    the gateway. Logs where `callers` (MAX_CALLERS) from one balancer would need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OWN + MOST * DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower one that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    most = max_connections(1)
    if callers > most - most // 4:
        log.warning(
            "MAX_CALLERS=%d, but one balancer can open only %d calls with the %d file descriptors "
            "that a process may have; raise their hard limit (ulimit -Hn, LimitNOFILE of systemd, "
            "--ulimit nofile of Docker), or lower MAX_CALLERS",
            callers,
            most - most // 4,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )


def listen_on(
    host: str,
    port: int,
    variable: str,
    most: int,
    proxies: Sequence[Network] = (),
    host_variable: str = "HOST",
) -> Listener:
    """A bound and listening socket; port 0 = any free one, "::" = IPv6 and IPv4.

    Raises `SettingsError` naming the variables.
    """
    try:
        bound = bind(host, port)
        bound.listen(128)
    except OSError as error:
        where = f"{url_host(host)}:{port} ({os_reason(error)})"
        raise SettingsError(
            f"cannot listen on {where}; choose another {host_variable} or {variable}"
        ) from error
    # asyncio sets this on its own sockets only; without it a response in two writes waits 40 ms
    # for an acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setblocking(False)
    listener = Listener(bound.family, bound.type, bound.proto, fileno=bound.detach())
    return listener.guard(most, proxies)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host`, as `listen_on` needs it. Raises OSError."""
    found = socket.getaddrinfo(
        host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # A host name with both families: IPv4.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def os_reason(error: OSError) -> str:
    """The reason in words. The errno of a name that was not found is negative."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)


def url_host(host: str) -> str:
    """A host as it is written in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


class _AcceptFilter(logging.Filter):
    """Drops asyncio's traceback about missing descriptors, which `LogThrottle` has logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "socket.accept() out of system resource" not in record.getMessage()


logging.getLogger("asyncio").addFilter(_AcceptFilter())
