"""The speaking process: which client listens to which call, audio at another rate, and the order
of the engine's jobs.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time

import numpy as np
import pytest

from tts_service import Service
from whisperfusion.engines import gains_of_voices
from whisperfusion.engines.scripted import ScriptedTTS, read_tones
from whisperfusion.messages import (
    CallEnded,
    CallStarted,
    Cancel,
    Commit,
    Metrics,
    Pause,
    PlaybackProgress,
    Resume,
    Sentence,
    Ticket,
)
from whisperfusion.settings import Settings
from whisperfusion.synthesis.calls import Call, Counts
from whisperfusion.synthesis.fillers import FillerJob, Fillers
from whisperfusion.synthesis.listeners import Listener
from whisperfusion.synthesis.pairing import pair
from whisperfusion.synthesis.synthesizer import Synthesizer
from whisperfusion.synthesis.texts import TextAudio, TextJob, TextPartEnded
from whisperfusion.synthesis.voice import Voice, resampled
from whisperfusion.synthesis.voices import Voices
from whisperfusion.wire.tts_socket import Name


def call(uid: str, address: str = "1.1.1.1", whole: bool = False) -> Call:
    return Call(CallStarted(uid, uid, address, whole, "", 1.0))


def listener(uid: str = "", address: str = "1.1.1.1") -> Listener:
    return Listener(uid or f"nameless at {address}", None, Name(uid), address)  # type: ignore[arg-type]


def test_a_name_finds_its_call_wherever_it_sits():
    ann, bob = call("ann"), call("bob")
    clients = [listener("bob", "2.2.2.2"), listener("ann"), listener("eve")]
    pair([ann, bob], clients)
    assert ann.listener is clients[1] and bob.listener is clients[0]


def test_the_nameless_are_paired_by_address_in_the_order_they_came():
    first, second, far = (
        call("x", whole=True),
        call("y", whole=True),
        call("z", "3.3.3.3", whole=True),
    )
    clients = [listener(), listener(), listener(address="4.4.4.4")]
    pair([first, second, far], clients)
    assert first.listener is clients[0] and second.listener is clients[1] and far.listener is None


def test_the_nameless_never_get_a_caller_that_expects_a_name():
    paced = call("ann")
    pair([paced], [listener()])
    assert paced.listener is None


def test_one_listener_has_one_call_and_keeps_it():
    first, second, clients = call("x", whole=True), call("y", whole=True), [listener()]
    pair([first, second], clients)
    pair([second, first], clients)
    assert first.listener is clients[0] and second.listener is None


def test_another_rate_keeps_pitch_length_and_level():
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    made = resampled(tone, 22_050)
    assert len(made) == 24_000 and made.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    assert spectrum.argmax() == 440 and np.abs(made[2000:-2000]).max() == pytest.approx(
        0.5, abs=0.01
    )
    assert resampled(tone, 24_000) is tone and len(resampled(np.zeros(0, np.float32), 22_050)) == 0


class Thoughtful(ScriptedTTS):
    """A voice that takes its time, and asks meanwhile whether a client listens."""

    def synthesize(self, text, voice=None, speed=1.0):
        for pcm in super().synthesize(text, voice, speed):
            yield np.zeros(0, np.float32)
            yield pcm


def test_what_a_slow_voice_asks_is_not_sound():
    made: list = []
    voices = Voices(Settings(tts_engine="scripted"), made.append)
    voices.chosen = Voice(Thoughtful())
    synthesizer = Synthesizer(voices, made.append)
    job = TextJob(listener("ann"), 1, "alpha", "", 1.0)
    synthesizer.put_text(job)
    synthesizer.worker.start()
    for _ in range(2000):  # the time is only a bound for a test that fails
        if made and isinstance(made[-1], TextPartEnded):
            break
        time.sleep(0.005)
    synthesizer.worker.stop()
    *audio, _ = made
    assert audio and all(isinstance(one, TextAudio) and len(one.audio) for one in audio)


# --- the service, with a voice that notes what it was asked for


class Gated(ScriptedTTS):
    """A voice that notes what it says, and waits before each "gate" until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open = threading.Event()

    def synthesize(self, text, voice=None, speed=1.0):
        self.texts.append(text)
        if text == "gate":
            assert self.open.wait(10)
        yield from super().synthesize(text, voice, speed)


class Client:
    """Takes the place of a connection."""

    def __init__(self) -> None:
        self.pcm = np.zeros(0, np.float32)

    def send(self, frame) -> None:
        self.pcm = np.concatenate((self.pcm, np.frombuffer(frame, np.float32)))

    @property
    def text(self) -> str:
        return read_tones(self.pcm, 24_000)


class Speaking:
    """A service in the test's own loop, and callers that listen to it."""

    def __init__(self, **settings) -> None:
        self.service = Service(Settings(tts_engine="scripted", **settings), queue.Queue())
        self.worker = self.service.synthesizer.worker
        self.voice = Gated()
        self.service.voices.chosen = Voice(self.voice, gains_of_voices("scripted"))
        self.clients: dict[str, Client] = {}

    async def __aenter__(self):
        self.service.start()
        self.worker.start()
        return self

    async def __aexit__(self, *_) -> None:
        self.voice.open.set()
        self.worker.stop()

    def join(self, *calls: str, whole: bool = False) -> None:
        for call in calls:
            self.clients[call] = Client()
            self.deliver(CallStarted(call, call, "1.1.1.1", whole, "", 1.0))
            self.service.listeners.listen(Listener(call, self.clients[call], Name(call), "1.1.1.1"))  # type: ignore[arg-type]

    def deliver(self, *messages) -> None:
        for message in messages:
            self.service.deliver(message)

    async def until(self, condition) -> None:
        """The time is only a bound for a test that fails."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(
            f"never: said {self.voice.texts}, sent {list(self.service._outbox.queue)}"
        )

    async def idle(self) -> None:
        await self.until(lambda: not self.worker.waiting() and self.worker.busy_since() is None)
        for _ in range(3):
            await asyncio.sleep(0)  # what the engine thread handed over

    def progress(self) -> list[PlaybackProgress]:
        return [
            message
            for message in self.service._outbox.queue
            if isinstance(message, PlaybackProgress)
        ]


A, A2 = Ticket("a", 1, 1), Ticket("a", 2, 0)


async def test_a_late_reply_is_bridged():
    async with Speaking(filler="hm") as speaking:
        speaking.join("a", "b")
        speaking.deliver(Commit(A, "hm"))
        await speaking.until(
            lambda: (
                speaking.clients["a"].text == "hm"
                and speaking.progress()[-1:] == [PlaybackProgress(A, -1, 0.08, 0.08)]
            )
        )
        speaking.deliver(Sentence(A, 0, "alpha", last=True))
        await speaking.until(lambda: speaking.progress()[-1].last)
        assert speaking.clients["a"].text == "hmalpha" and [
            one.index for one in speaking.progress()
        ] == [-1, -1, 0, 0]
        assert speaking.voice.texts == ["hm", "alpha"]  # made once, when the first caller came
        speaking.deliver(Commit(Ticket("b", 1, 1), "hm"))
        await speaking.until(lambda: speaking.clients["b"].text == "hm")
        assert speaking.voice.texts == ["hm", "alpha"]


async def test_there_is_no_filler_where_none_is_waited_for():
    async with Speaking() as speaking:
        speaking.join("early", "paused", "gone", "over")
        speaking.join("page", whole=True)
        speaking.deliver(Sentence(Ticket("early", 1, 1), 0, "alpha", last=True))
        await speaking.idle()
        for call in speaking.clients:
            speaking.deliver(Commit(Ticket(call, 1, 1), "hm"))
        speaking.deliver(
            Pause(Ticket("paused", 1, 1)), Cancel(Ticket("gone", 2, 0)), CallEnded("over")
        )
        await speaking.until(lambda: speaking.progress()[-1:] and speaking.progress()[-1].last)
        await speaking.idle()
        speaking.deliver(
            Resume(Ticket("paused", 1, 1)), Sentence(Ticket("paused", 1, 1), 0, "beta")
        )
        speaking.deliver(Sentence(Ticket("page", 1, 1), 0, "beta", last=True))
        await speaking.until(
            lambda: speaking.clients["paused"].text == speaking.clients["page"].text == "beta"
        )
        assert (
            speaking.clients["early"].text == "alpha"
            and speaking.clients["gone"].text == speaking.clients["over"].text == ""
        )


async def test_a_filler_that_is_due_before_it_is_made_comes_then():
    async with Speaking() as speaking:
        speaking.join("a", "b")
        speaking.deliver(Sentence(Ticket("b", 1, 1), 0, "gate"))
        await speaking.until(lambda: speaking.voice.texts == ["gate"])
        speaking.deliver(Commit(A, "hm"))
        await speaking.until(lambda: speaking.service.calls["a"].player.wake_at is None)
        speaking.voice.open.set()
        await speaking.until(lambda: speaking.clients["a"].text == "hm")


async def test_a_filler_that_cannot_be_said_is_left_out():
    async with Speaking() as speaking:
        speaking.join("a")
        speaking.deliver(Commit(A, "unspeakable"))
        await speaking.until(lambda: speaking.voice.texts == ["unspeakable"])
        await speaking.idle()
        speaking.deliver(Sentence(A, 0, "alpha", last=True))
        await speaking.until(lambda: speaking.progress()[-1:] and speaking.progress()[-1].last)
        assert [one.index for one in speaking.progress()] == [0, 0] and speaking.clients[
            "a"
        ].text == "alpha"


async def test_first_clauses_that_are_waited_for_go_before_all_else():
    async with Speaking() as speaking:
        speaking.join(*"abcde")
        speaking.deliver(Sentence(A, 0, "gate"))
        await speaking.until(lambda: speaking.voice.texts == ["gate"])
        speaking.deliver(
            Commit(Ticket("b", 1, 1)),
            Sentence(Ticket("b", 1, 1), 1, "later"),
            Sentence(Ticket("c", 1, 1), 0, "preemptive"),
        )
        speaking.deliver(Sentence(Ticket("d", 1, 1), 0, "right"), Commit(Ticket("d", 1, 1)))
        speaking.deliver(Commit(Ticket("e", 1, 1)), Sentence(Ticket("e", 1, 1), 0, "asked"))
        speaking.voice.open.set()
        await speaking.until(lambda: len(speaking.voice.texts) >= 5)
        await speaking.idle()
        # and "right" only once
        assert speaking.voice.texts == ["gate", "right", "asked", "later", "preemptive"]
        await speaking.until(lambda: speaking.clients["d"].text == "right")


async def test_audio_that_was_made_in_vain_is_counted_and_reported_with_what_waits():
    async with Speaking() as speaking:
        service = speaking.service
        speaking.join("a", "b")
        speaking.deliver(Sentence(A, 0, "gate"))
        await speaking.until(lambda: speaking.voice.texts == ["gate"])
        speaking.deliver(Cancel(A2))
        speaking.voice.open.set()
        await speaking.idle()
        speaking.deliver(Sentence(A2, 0, "alpha"), Sentence(Ticket("b", 1, 1), 0, "alpha"))
        await speaking.idle()
        speaking.deliver(CallEnded("a"))
        assert service.beat() is None
        (metrics,) = [message for message in service._outbox.queue if isinstance(message, Metrics)]
        values = dict(metrics.values)
        assert values["queue_jobs"] == 0 and values["process_uptime_seconds"] > 0
        # "gate" has 0.16 s, "alpha" 0.2 s; that of b may still be played
        assert {
            name: value for name, value in values.items() if name.startswith("tts")
        } == pytest.approx(
            {
                "tts_audio_seconds_total": 0.56,
                "tts_audio_wasted_seconds_total": 0.36,
                "tts_underruns_total": 0,
                "tts_underrun_seconds_total": 0,
                "tts_fallback_jobs_total": 0,
            }
        )


def test_counts_are_of_all_calls():
    counts, calls = Counts(), [call("x"), call("y")]
    calls[0].player.tally.made, calls[1].player.tally.underruns, calls[1].player.tally.underrun = (
        24_000,
        2,
        12_000,
    )
    counts.ended.dropped, counts.lost = 2400, 4800
    values = [value for _, value in counts.metrics(calls, 48_000).values]
    assert values == pytest.approx([3.2, 0.3, 2, 0.5])


def test_few_fillers_are_kept():
    asked: list[FillerJob] = []
    fillers = Fillers(asked.append)
    jobs = [FillerJob(str(i), "", 1.0) for i in range(33)]
    for job in jobs:
        assert fillers.get(job) is None and fillers.get(job) is None
    assert asked == jobs
    fillers.keep(jobs[32], np.ones(3, np.float32))
    assert len(fillers.get(jobs[32])) == 3 and asked == jobs
    assert fillers.get(jobs[0]) is None and asked[33:] == jobs[:1]


def test_the_calls_that_wait_for_a_filler_are_named_once():
    fillers, job, audio = Fillers(lambda job: None), FillerJob("hm", "", 1.0), np.ones(3)
    for call in (None, "a", "b"):
        assert fillers.get(job, call) is None
    assert fillers.keep(job, audio) == ["a", "b"] and fillers.keep(job, audio) == []
    assert fillers.get(job, "c") is audio
