"""Who hears which call, and sound at another rate."""

from __future__ import annotations

import asyncio
import queue

import numpy as np
import pytest

from fusion.core.playout import Playout
from fusion.engines.scripted import ScriptedTTS
from fusion.messages import Joined, Ticket
from fusion.settings import Settings
from fusion.speech import Listener, SayJob, Speech, pair, resampled
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
