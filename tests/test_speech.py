"""Who hears which call, sound at another rate, and what is said in which order while the engine is busy."""

from __future__ import annotations

import asyncio
import queue
import threading

import numpy as np
import pytest

from fusion.core.playout import Playout
from fusion.engines.scripted import ScriptedTTS, read_tones
from fusion.messages import Cancel, Commit, Hangup, Hold, Joined, Metrics, Resume, Sentence, Spoken, Ticket
from fusion.settings import Settings
from fusion.speech import Counts, FillerJob, Fillers, Listener, SayJob, Speech, pair, resampled
from fusion.wire.tts_socket import Name
from tts_service import Service


def speech(uid: str, address: str = "1.1.1.1", whole: bool = False) -> Speech:
    return Speech(Joined(uid, uid, address, whole, "", 1.0), Playout())


def listener(uid: str = "", address: str = "1.1.1.1") -> Listener:
    return Listener(uid or f"nameless at {address}", None, Name(uid), address)  # type: ignore[arg-type]


def test_a_name_finds_its_call_wherever_it_sits():
    ann, bob = speech("ann"), speech("bob")
    ears = [listener("bob", "2.2.2.2"), listener("ann"), listener("eve")]
    pair([ann, bob], ears)
    assert ann.listener is ears[1] and bob.listener is ears[0]


def test_the_nameless_are_paired_by_address_in_the_order_they_came():
    first, second, far = speech("x", whole=True), speech("y", whole=True), speech("z", "3.3.3.3", whole=True)
    ears = [listener(), listener(), listener(address="4.4.4.4")]
    pair([first, second, far], ears)
    assert first.listener is ears[0] and second.listener is ears[1] and far.listener is None


def test_the_nameless_never_hear_a_caller_that_expects_a_name():
    paced = speech("ann")
    pair([paced], [listener()])
    assert paced.listener is None


def test_one_listener_hears_one_call_and_keeps_it():
    first, second, ears = speech("x", whole=True), speech("y", whole=True), [listener()]
    pair([first, second], ears)
    pair([second, first], ears)
    assert first.listener is ears[0] and second.listener is None


def test_another_rate_keeps_pitch_length_and_level():
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    made = resampled(tone, 22_050)
    assert len(made) == 24_000 and made.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    assert spectrum.argmax() == 440 and np.abs(made[2000:-2000]).max() == pytest.approx(0.5, abs=0.01)
    assert resampled(tone, 24_000) is tone and len(resampled(np.zeros(0, np.float32), 22_050)) == 0


class Thoughtful(ScriptedTTS):
    """A voice that takes its time, and asks meanwhile whether anybody listens."""

    def speak(self, text, voice, speed):
        for pcm in super().speak(text, voice, speed):
            yield np.zeros(0, np.float32)
            yield pcm


async def test_what_a_slow_voice_asks_is_not_sound():
    service = Service(Settings(tts_engine="scripted"), queue.Queue())
    service._loop, service.engine, made = asyncio.get_running_loop(), Thoughtful(), []
    service._made = lambda ticket, job, pcm: made.append(len(pcm))
    service._ended = lambda ticket, job: made.append("end")
    service._work(Ticket("a", 1), SayJob(listener("ann"), 1, ("alpha",), "", 1.0))
    await asyncio.sleep(0)
    assert len(made) > 1 and made[-1] == "end" and 0 not in made


# --- the service, with a voice that tells what it was asked for


class Gated(ScriptedTTS):
    """A voice that notes what it says, and waits before each "gate" until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open = threading.Event()

    def speak(self, text, voice, speed):
        self.texts.append(text)
        if text == "gate":
            assert self.open.wait(10)
        yield from super().speak(text, voice, speed)


class Ear:
    """Takes the place of a connection."""

    def __init__(self) -> None:
        self.pcm = np.zeros(0, np.float32)

    def send(self, frame) -> None:
        self.pcm = np.concatenate((self.pcm, np.frombuffer(frame, np.float32)))

    @property
    def heard(self) -> str:
        return read_tones(self.pcm, 24_000)


class Mouth:
    """A service in the test's own loop, and callers that listen to it."""

    def __init__(self, **settings) -> None:
        self.service = Service(Settings(tts_engine="scripted", **settings), queue.Queue())
        self.service.engine = self.voice = Gated()
        self.ears: dict[str, Ear] = {}

    async def __aenter__(self):
        self.service.start()
        return self

    async def __aexit__(self, *_) -> None:
        self.voice.open.set()
        self.service.worker.stop()

    def join(self, *calls: str, whole: bool = False) -> None:
        for call in calls:
            self.ears[call] = Ear()
            self.tell(Joined(call, call, "1.1.1.1", whole, "", 1.0))
            self.service.listen(Listener(call, self.ears[call], Name(call), "1.1.1.1"))  # type: ignore[arg-type]

    def tell(self, *messages) -> None:
        for message in messages:
            self.service.deliver(message)

    async def until(self, condition) -> None:
        """The time is only a bound for a test that fails."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"never: said {self.voice.texts}, told {list(self.service._outbox.queue)}")

    async def idle(self) -> None:
        await self.until(lambda: not self.service.worker.waiting() and self.service.worker.busy_since() is None)
        for _ in range(3):
            await asyncio.sleep(0)  # what the engine thread handed over

    def spoken(self) -> list[Spoken]:
        return [message for message in self.service._outbox.queue if isinstance(message, Spoken)]


A, A2 = Ticket("a", 1, 1), Ticket("a", 2, 0)


async def test_a_late_reply_is_bridged():
    async with Mouth(filler="hm") as mouth:
        mouth.join("a", "b")
        mouth.tell(Commit(A, "hm"))
        await mouth.until(lambda: mouth.ears["a"].heard == "hm" and mouth.spoken()[-1:] == [Spoken(A, -1, 0.08, 0.08)])
        mouth.tell(Sentence(A, 0, "alpha", last=True))
        await mouth.until(lambda: mouth.spoken()[-1].last)
        assert mouth.ears["a"].heard == "hmalpha" and [spoken.index for spoken in mouth.spoken()] == [-1, -1, 0, 0]
        assert mouth.voice.texts == ["hm", "alpha"]  # made once, when the first caller came
        mouth.tell(Commit(Ticket("b", 1, 1), "hm"))
        await mouth.until(lambda: mouth.ears["b"].heard == "hm")
        assert mouth.voice.texts == ["hm", "alpha"]


async def test_nothing_is_said_where_nobody_waits():
    async with Mouth() as mouth:
        mouth.join("early", "held", "gone", "over")
        mouth.join("page", whole=True)
        mouth.tell(Sentence(Ticket("early", 1, 1), 0, "alpha", last=True))
        await mouth.idle()
        for call in mouth.ears:
            mouth.tell(Commit(Ticket(call, 1, 1), "hm"))
        mouth.tell(Hold(Ticket("held", 1, 1)), Cancel(Ticket("gone", 2, 0)), Hangup("over"))
        await mouth.until(lambda: mouth.spoken()[-1:] and mouth.spoken()[-1].last)
        await mouth.idle()
        mouth.tell(Resume(Ticket("held", 1, 1)), Sentence(Ticket("held", 1, 1), 0, "beta"))
        mouth.tell(Sentence(Ticket("page", 1, 1), 0, "beta", last=True))
        await mouth.until(lambda: mouth.ears["held"].heard == mouth.ears["page"].heard == "beta")
        assert mouth.ears["early"].heard == "alpha" and mouth.ears["gone"].heard == mouth.ears["over"].heard == ""


async def test_a_filler_that_is_due_before_it_is_made_comes_then():
    async with Mouth() as mouth:
        mouth.join("a", "b")
        mouth.tell(Sentence(Ticket("b", 1, 1), 0, "gate"))
        await mouth.until(lambda: mouth.voice.texts == ["gate"])
        mouth.tell(Commit(A, "hm"))
        await mouth.until(lambda: mouth.service.calls["a"].overdue is not None)
        mouth.voice.open.set()
        await mouth.until(lambda: mouth.ears["a"].heard == "hm")


async def test_a_filler_that_cannot_be_said_is_left_out():
    async with Mouth() as mouth:
        mouth.join("a")
        mouth.tell(Commit(A, "unspeakable"))
        await mouth.until(lambda: mouth.voice.texts == ["unspeakable"])
        await mouth.idle()
        mouth.tell(Sentence(A, 0, "alpha", last=True))
        await mouth.until(lambda: mouth.spoken()[-1:] and mouth.spoken()[-1].last)
        assert [spoken.index for spoken in mouth.spoken()] == [0, 0] and mouth.ears["a"].heard == "alpha"


async def test_first_clauses_that_somebody_waits_for_go_before_all_else():
    async with Mouth() as mouth:
        mouth.join(*"abcde")
        mouth.tell(Sentence(A, 0, "gate"))
        await mouth.until(lambda: mouth.voice.texts == ["gate"])
        mouth.tell(Commit(Ticket("b", 1, 1)), Sentence(Ticket("b", 1, 1), 1, "later"), Sentence(Ticket("c", 1, 1), 0, "guess"))
        mouth.tell(Sentence(Ticket("d", 1, 1), 0, "right"), Commit(Ticket("d", 1, 1)))
        mouth.tell(Commit(Ticket("e", 1, 1)), Sentence(Ticket("e", 1, 1), 0, "asked"))
        mouth.voice.open.set()
        await mouth.until(lambda: len(mouth.voice.texts) >= 5)
        await mouth.idle()
        assert mouth.voice.texts == ["gate", "right", "asked", "later", "guess"]  # and "right" only once
        await mouth.until(lambda: mouth.ears["d"].heard == "right")


async def test_what_was_made_for_nothing_is_counted_and_told_with_what_waits():
    async with Mouth() as mouth:
        service = mouth.service
        mouth.join("a", "b")
        mouth.tell(Sentence(A, 0, "gate"))
        await mouth.until(lambda: mouth.voice.texts == ["gate"])
        mouth.tell(Cancel(A2))
        mouth.voice.open.set()
        await mouth.idle()
        mouth.tell(Sentence(A2, 0, "alpha"), Sentence(Ticket("b", 1, 1), 0, "alpha"))
        await mouth.idle()
        mouth.tell(Hangup("a"))
        assert service.beat() is None
        (told,) = [message for message in service._outbox.queue if isinstance(message, Metrics)]
        values = dict(told.values)
        assert values["queue_waiting"] == 0 and values["uptime_seconds"] > 0
        # "gate" has 0.16 s, "alpha" 0.2 s; that of b may still be heard
        assert {name: value for name, value in values.items() if name.startswith("tts")} == pytest.approx({
            "tts_audio_seconds_total": 0.56, "tts_audio_wasted_seconds_total": 0.36, "tts_gaps_total": 0, "tts_gap_seconds_total": 0})


def test_counts_are_of_all_calls():
    counts, calls = Counts(), [speech("x"), speech("y")]
    calls[0].playout.tally.made, calls[1].playout.tally.gaps, calls[1].playout.tally.gap = 24_000, 2, 12_000
    counts.gone.dropped, counts.lost, counts.said = 2400, 4800, 48_000
    assert [value for _, value in counts.metrics(calls).values] == pytest.approx([3.2, 0.3, 2, 0.5])


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
