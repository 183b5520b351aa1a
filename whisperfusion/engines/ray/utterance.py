"""Live speech at the servers of a cluster: one WebSocket for an utterance, with both of its passes.

The socket is opened in the background when the utterance is created, and stays at one replica. The
audio is kept here as long as the utterance: when the replica is lost, another one gets all of it,
and the caller notices a delay. A server closes a socket that was silent for a while, and it is
opened again in the same way.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.elsewhere.adapters import hypothesis
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import ASROptions, Hypothesis
from whisperfusion.engines.ray.servers import AGAIN, Lost, Servers
from whisperfusion.engines.remote.http_stream import Refused
from whisperfusion.engines.remote.web_socket import closed, connect
from whisperfusion.errors import EngineError
from whisperfusion.wire import WireError, engine_server
from whisperfusion.wire import engine_pipe as wire
from whisperfusion.wire.engine_server import FINAL, INTERIM

FRAME_S = 60  # of audio, at most, in one message


class RayUtterance:
    """One pass over an utterance."""

    def __init__(self, spoken: Spoken, which: int) -> None:
        self._spoken, self._which = spoken, which
        self._given = 0  # samples

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        pcm, start = checked(pcm), self._given
        self._given += len(pcm)
        return self._spoken.run(self._spoken.decoded(self._which, start, pcm, final))

    def finish(self) -> Hypothesis:
        return self._spoken.run(self._spoken.finished(self._which, self._given))


def both_passes(servers: Servers, options: ASROptions) -> tuple[RayUtterance, RayUtterance]:
    """The interim and the final pass over one utterance."""
    spoken = Spoken(servers, options, (INTERIM, FINAL))
    return RayUtterance(spoken, INTERIM), RayUtterance(spoken, FINAL)


def one_pass(servers: Servers, options: ASROptions) -> RayUtterance:
    return RayUtterance(Spoken(servers, options, (FINAL,)), FINAL)


class Spoken:
    """An utterance: its audio so far, and the socket that it has at present."""

    def __init__(self, servers: Servers, options: ASROptions, passes: Sequence[int]) -> None:
        import asyncio

        self._servers, self._opening = servers, asyncio.Lock()
        self._creation = {"options": asdict(options), "passes": list(passes)}
        self._audio: Samples = np.zeros(0, np.float32)
        self._lines = Lines()
        self._opened: Any = None  # a task that nothing else keeps
        servers.http.soon(_open_soon, weakref.ref(self))
        weakref.finalize(self, servers.http.soon, self._lines.close).atexit = False

    def run(self, work: Any) -> Hypothesis:
        """Blocks, for `timeout_s` at most."""
        return self._servers.http.run(self._in_time(work))

    # --- on the event loop of the requests -------------------------------------------------------

    async def decoded(self, which: int, start: int, pcm: Samples, final: bool) -> Hypothesis:
        """`pcm` begins at sample `start`; the other pass may have brought it."""
        end = start + len(pcm)
        if end > len(self._audio):
            self._audio = np.concatenate((self._audio, pcm[len(self._audio) - start :]))
        return await self._asked(which, end, final)

    async def finished(self, which: int, upto: int) -> Hypothesis:
        return await self._asked(which, upto, None)

    def open_soon(self) -> None:
        """So that the first question need not wait for the connection. What fails here fails again
        with that question, which says so.
        """
        import asyncio

        self._opened = asyncio.ensure_future(self._open())
        self._opened.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _open(self) -> Line:
        """The present socket, or a new one. Raises `Lost`."""
        async with self._opening:
            line = self._lines.present
            if line is None or line.gone:
                line = self._lines.present = await Line.open(self._servers)
                try:
                    await line.ask("create_utterance", self._creation)
                except BaseException:
                    line.close()
                    raise
            return line

    async def _asked(self, which: int, upto: int, final: bool | None) -> Hypothesis:
        """`final` None: finish."""
        for attempt in range(AGAIN + 1):
            await self._servers.pause(attempt)
            line: Line | None = None
            try:
                line = await self._open()
                await line.send_audio(self._audio[line.sent : upto])
                if final is not None:
                    return await line.decode(which, upto, final)
                if line.given.get(which, 0) < upto:  # it is another replica than before
                    await line.decode(which, upto, True)
                return hypothesis(await line.ask("finish", {"which": which}))
            except Lost as error:
                if line is not None:
                    line.close()
                last = error
        raise last.error from last

    async def _in_time(self, work: Any) -> Hypothesis:
        import asyncio

        servers = self._servers
        try:
            found: Hypothesis = await asyncio.wait_for(work, servers.timeout_s)
            return found
        except (TimeoutError, asyncio.TimeoutError):
            raise EngineError(
                f"{servers.name} at {servers.http.url} had no transcript within "
                f"{servers.timeout_s:g} s; it may have too few replicas"
            ) from None


class Lines:
    """The socket of an utterance; it is closed when the utterance is gone."""

    def __init__(self) -> None:
        self.present: Line | None = None

    def close(self) -> None:
        if self.present is not None:
            self.present.close()


class Line:
    """One socket, to one replica."""

    def __init__(self, servers: Servers, socket: Any) -> None:
        import asyncio

        self._servers, self._socket = servers, socket
        self.sent = 0  # samples
        self.given: dict[int, int] = {}  # of each pass
        self.gone = False
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._closing: Any = None  # tasks that nothing else keeps
        self._reader = asyncio.ensure_future(self._read())

    @classmethod
    async def open(cls, servers: Servers) -> Line:
        try:
            return cls(servers, await connect(servers.http, "/utterance", servers.headers))
        except Refused as refusal:
            raise servers.lost_or(refusal) from refusal
        except EngineError as error:  # no connection
            raise Lost(error) from error

    async def send_audio(self, pcm: Samples) -> None:
        """All of it but what goes with the next question."""
        piece = FRAME_S * MICROPHONE_RATE
        for at in range(0, len(pcm), piece):
            part = pcm[at : at + piece]
            self.sent += len(part)
            await self._send("audio", {}, part)

    async def decode(self, which: int, upto: int, final: bool) -> Hypothesis:
        asked = {"which": which, "upto": upto, "final": final}
        found = hypothesis(await self.ask("accept_audio", asked))
        self.given[which] = upto
        return found

    async def ask(self, method: str, arguments: dict[str, Any]) -> Any:
        """The value of the answer. Raises EngineError and `Lost`."""
        import asyncio

        answer = asyncio.get_running_loop().create_future()
        id = await self._send(method, arguments, None, answer)
        try:
            return self._servers.checked(await answer).value
        finally:
            self._waiting.pop(id, None)

    def close(self) -> None:
        """Does not wait for the other end."""
        import asyncio

        if not self.gone:
            self.gone = True
            self._closing = asyncio.ensure_future(self._socket.close())

    async def _send(
        self, method: str, arguments: dict[str, Any], pcm: Samples | None, answer: Any = None
    ) -> int:
        from websockets.exceptions import ConnectionClosed

        id = next(self._ids)
        if answer is not None:
            self._waiting[id] = answer
        try:
            await self._socket.send(b"".join(wire.encode(wire.Call(id, method, arguments, pcm))))
        except ConnectionClosed as error:
            self._waiting.pop(id, None)
            self.gone = True
            raise self._end(error) from error
        return id

    async def _read(self) -> None:
        """The answers, until the socket ends."""
        from websockets.exceptions import ConnectionClosed

        why: Exception = Lost(EngineError("the connection was closed"))
        try:
            while True:
                data = await self._socket.recv()
                for message in wire.Decoder().feed(data if isinstance(data, bytes) else b"{"):
                    waiting = self._waiting.pop(getattr(message, "id", 0), None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        except ConnectionClosed as error:
            why = self._end(error)
        except WireError as error:
            why = self._servers.strange(error)
        finally:
            self.gone = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(why)

    def _end(self, error: Any) -> Exception:
        told = closed(f"{self._servers.name} at {self._servers.http.url}", error)
        wrong = error.rcvd is not None and error.rcvd.code == engine_server.WRONG
        return told if wrong else Lost(told)


def _open_soon(present: weakref.ref[Spoken]) -> None:
    spoken = present()
    if spoken is not None:  # else it was created to try its options
        spoken.open_soon()
