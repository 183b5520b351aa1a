"""The clients that are connected to 8888."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from whisperfusion.audio import Samples
from whisperfusion.runtime.sockets import Outgoing
from whisperfusion.synthesis.pairing import pair
from whisperfusion.wire import WireError, tts_events
from whisperfusion.wire import tts_socket as wire
from whisperfusion.wire.pcm import encode

if TYPE_CHECKING:
    from whisperfusion.synthesis.calls import Call
    from whisperfusion.synthesis.texts import TextJob

IDLE_S = 600.0  # a connection that has no use is closed


@dataclass(eq=False)
class Listener:
    """A connection on 8888; equal to itself only."""

    id: str
    out: Outgoing
    name: wire.Name
    address: str
    key: int | None = None  # position in SHARED_SECRET of the key that it came with
    used_at: float | None = None  # when it had a call or a text; None = never looked at
    texts: deque[TextJob] = field(default_factory=deque)  # asked for; the first is being made
    # the rest of the first, until what was made of it has been read
    postponed: TextJob | None = None
    samples: int = 0  # made of the first

    @property
    def characters(self) -> int:
        """Of the texts that wait."""
        return sum(len(job.text) for job in self.texts)

    def audio(self, pcm: Samples) -> None:
        self.out.send(encode(pcm, self.name.audio_format))

    def event(self, event: tts_events.TtsEvent) -> None:
        if self.name.events:
            self.answer(event)

    def answer(self, event: tts_events.TtsEvent) -> None:
        """What it gets even if it did not ask for events."""
        self.out.send(tts_events.to_json(event))

    def refuse(self, message: str) -> None:
        self.answer(tts_events.Rejected(None, "refused", message))
        self.out.close(1008, "see the message before")


class Listeners:
    """All connections on 8888.

    `forget` drops the jobs of a listener; `changed` is called with each call whose listener came or
    left.
    """

    def __init__(
        self,
        calls: Mapping[str, Call],
        forget: Callable[[str], object],
        changed: Callable[[Call], object],
    ) -> None:
        self.open: list[Listener] = []
        self._calls, self._forget, self._changed = calls, forget, changed

    def listen(self, listener: Listener) -> None:
        """Raises WireError when the caller already has a listener that shows as much, or another
        is its own.
        """
        name = listener.name
        for other in self.open if name.uid else ():
            if other.name.uid != name.uid:
                continue
            same = other is not listener and (other.key, other.address) == (
                listener.key,
                listener.address,
            )
            if same and bool(other.name.listen_secret) >= bool(name.listen_secret):
                raise WireError(
                    "this uid has a listener already; a caller is heard by one connection", name.uid
                )
        if listener not in self.open:
            self.open.append(listener)
        self.pair()

    def pair(self) -> None:
        """Give each call the listener that is its own, after a call or a listener came."""
        before = {name: call.listener for name, call in self._calls.items()}
        refused = pair(self._calls.values(), self.open)
        for name, call in tuple(self._calls.items()):
            if call.listener is not before[name]:
                self._changed(call)
        for listener, why in refused:
            self.leave(listener)
            listener.refuse(why)

    def leave(self, listener: Listener) -> None:
        if listener in self.open:
            self.open.remove(listener)
        self._forget(listener.id)
        listener.postponed = None
        for call in tuple(self._calls.values()):
            if call.listener is listener:
                call.listener = None
                self._changed(call)

    def close_idle(self, now: float) -> None:
        """Listeners that had neither a call nor a text for `IDLE_S`.

        `now` on the clock of the loop.
        """
        in_use = {id(call.listener) for call in self._calls.values()}
        for listener in self.open:
            if listener.texts or id(listener) in in_use or listener.used_at is None:
                listener.used_at = now
            elif now - listener.used_at > IDLE_S:
                listener.out.close(
                    1000, f"no call and no text for {IDLE_S:.0f} s; connect again with the next"
                )
