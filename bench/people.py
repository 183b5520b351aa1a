"""The people of the bench: callers who take turns, and one who sits beside a loudspeaker without
echo cancellation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.common import Recording, Server
from bench.loudspeaker import Loudspeaker, Room
from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.client import CallError, Event
from whisperfusion.client.microphone import Microphone
from whisperfusion.client.timed_call import Observed, TimedCall, first_audible

BREATH_S = 0.3  # of silence before the user says anything: the microphone is open first
STORIES = (  # typed, so that it takes no time to ask; any answer that lasts will do
    "Tell me a long story about a lighthouse keeper and a storm.",
    "Explain to me how a loaf of bread is made, from the field to the table.",
    "Tell me everything about the life of a river, from its source to the sea.",
    "Describe a day in the life of a train driver in winter.",
    "Tell me a long story about a dog that walks home across the country.",
    "Explain how the seasons come about and what they mean to a farmer.",
)
LONG = {
    "instructions": (
        "You tell long stories. Always answer in ten long, plain spoken sentences, "
        "never with lists."
    )
}


class CallInARoom(TimedCall):
    """A call whose microphone picks up the loudspeaker too, `gain_db` louder (mostly less)."""

    def __init__(self, asr_url: str, tts_url: str, gain_db: float, **call: Any) -> None:
        self.loudspeaker = Loudspeaker()
        super().__init__(asr_url, tts_url, watch=self.loudspeaker.observe, **call)
        room = Room(self.loudspeaker, gain_db)
        self._microphone = Microphone(self.call.send_audio, room.echo)


def call(
    server: Server, options: Mapping[str, Any] | None = None, echo_db: float | None = None
) -> TimedCall:
    if echo_db is None:
        return TimedCall(server.asr_url, server.tts_url, options=options)
    return CallInARoom(server.asr_url, server.tts_url, echo_db, options=options)


async def answering(open_call: TimedCall, question: str) -> None:
    """Type `question` and wait for the first sound of the answer that can be heard.

    Raises `CallError`.
    """
    since = len(open_call.log)
    open_call.speak(np.zeros(int(BREATH_S * MICROPHONE_RATE), np.float32))
    await open_call.call.say(question)
    await open_call.until(
        lambda: first_audible(open_call.log[since:]) is not None,
        60,
        "an answer to speak over",
    )


async def until_or(open_call: TimedCall, condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for `condition`, but no longer than `seconds`; did it come true?

    Raises `CallError` when the call ends.
    """
    try:
        await open_call.until(condition, max(0.01, seconds), "it")
    except CallError:
        if open_call.closed:
            raise
        return False
    return True


def end_of(recording: Recording, began: float) -> float:
    """When the last word of a recording, played from `began` on, ended."""
    return began + recording.last / MICROPHONE_RATE


def since(log: list[Observed[Event]], began: float) -> list[Observed[Event]]:
    return [event for event in log if event.at >= began]
