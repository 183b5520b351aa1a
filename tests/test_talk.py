"""The caller in Python and `main.py talk`, against the real processes with scripted engines."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import wave

import numpy as np
import pytest
from running import ROOT

from whisperfusion.cli import talk
from whisperfusion.client import CallError, events
from whisperfusion.client.microphone import speech_span
from whisperfusion.client.timed_call import Observed, TimedCall, converse, first_audible
from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.settings import Settings

SILENCE = np.zeros(4000, np.float32)


def recording(text: str) -> np.ndarray:
    return np.concatenate((SILENCE, tone_speech(text), SILENCE))


def write_wav(path, pcm: np.ndarray, rate: int = 16_000, channels: int = 1) -> str:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.repeat(pcm, channels) * 32767).astype("<i2").tobytes())
    return str(path)


def command(
    server, *arguments: str, flags: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    ports = [f"--asr-port={server.asr_port}", f"--tts-port={server.tts_port}", *flags]
    return subprocess.run(
        [sys.executable, "main.py", *ports, "talk", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )


# --- the caller ---------------------------------------------------------------------------------


async def test_a_spoken_turn_has_words_sound_and_times_in_order(scripted_server):
    spoken = await converse(
        recording("alpha beta"), scripted_server.asr_url, scripted_server.tts_url
    )
    assert spoken.transcript == "alpha beta"
    assert spoken.reply == "You said alpha beta. That is 2 words."
    assert read_tones(spoken.audio, 24_000).startswith("you said alpha beta.")
    assert spoken.end_of_speech - spoken.began == pytest.approx(
        (len(SILENCE) + 10 * 640) / 16_000, abs=0.03
    )
    assert (
        spoken.began < spoken.end_of_speech < spoken.first_audio
        and spoken.first_transcript < spoken.first_audio
    )
    # no transcript comes before its words were spoken
    assert spoken.transcript_lags and min(spoken.transcript_lags) > 0
    assert spoken.latency.first_sound >= spoken.latency.words


async def test_one_call_can_hold_several_turns_and_typed_lines(scripted_server):
    async with TimedCall(scripted_server.asr_url, scripted_server.tts_url) as call:
        first = await call.turn(recording("one two"))
        second = await call.turn(recording("three"))
        typed = await call.typed("four five six")
    assert [result.transcript for result in (first, second, typed)] == [
        "one two",
        "three",
        "four five six",
    ]
    assert typed.reply == "You said four five six. That is 3 words." and typed.audio.size


async def test_a_recording_sent_at_once_is_answered_too(scripted_server):
    pcm = np.concatenate([recording("one"), np.zeros(32_000, np.float32), recording("two")])
    result = await converse(pcm, scripted_server.asr_url, scripted_server.tts_url, fast=True)
    assert result.transcript == "one two" and result.reply.count("You said") == 2


async def test_an_answer_that_does_not_come_is_named(scripted_server):
    with pytest.raises(CallError, match="no speech was detected"):
        await converse(
            np.zeros(800, np.float32), scripted_server.asr_url, scripted_server.tts_url, timeout_s=1
        )
    with pytest.raises(CallError, match="could not answer"):
        await converse(recording("explode"), scripted_server.asr_url, scripted_server.tts_url)


async def test_what_the_server_says_against_a_call_is_told(scripted_server):
    with pytest.raises(CallError, match="speed"):
        await converse(
            SILENCE,
            scripted_server.asr_url,
            scripted_server.tts_url,
            options={"speed": 9},
            timeout_s=5,
        )
    with pytest.raises(CallError, match="no server answers at ws://127.0.0.1:1 "):
        await converse(
            SILENCE, "ws://127.0.0.1:1", scripted_server.tts_url.rpartition(":")[0] + ":1"
        )


def test_where_the_sound_of_a_recording_begins_and_ends():
    pcm = np.concatenate((np.zeros(1600), 0.3 * np.ones(3200), 0.0001 * np.ones(1600))).astype(
        np.float32
    )
    assert speech_span(pcm) == (1600, 4800)
    assert speech_span(np.zeros(5000, np.float32)) == (0, 0) == speech_span(np.zeros(0, np.float32))


def test_the_first_sound_is_the_first_sample_that_can_be_heard():
    quiet, late = (
        np.zeros(2400, np.float32),
        np.concatenate((np.zeros(240), 0.5 * np.ones(10))).astype(np.float32),
    )
    sounds = [
        Observed(1.0, events.ReplyAudio(1, b""), quiet, 1.0),
        Observed(1.05, events.ReplyAudio(1, b""), late, 1.1),
    ]
    assert first_audible(sounds) == pytest.approx(1.11)
    assert first_audible(sounds[:1]) is None


# --- the command --------------------------------------------------------------------------------


def test_a_recording_of_any_kind_is_spoken_and_the_reply_kept(scripted_server, tmp_path):
    stereo = np.interp(
        np.arange(0, 1, 1 / 44_100),
        np.arange(0, 1, 1 / 16_000),
        np.pad(recording("hello"), (0, 16_000))[:16_000],
    )
    spoken, reply = write_wav(tmp_path / "stereo.wav", stereo, 44_100, 2), tmp_path / "reply.wav"
    done = command(scripted_server, spoken, "--save", str(reply))
    assert done.returncode == 0, done.stderr
    assert (
        "you: hello\nbot: You said hello. That is 1 word.\n" in done.stdout
        and "first sound" in done.stdout
    )
    with wave.open(str(reply)) as kept:
        assert (kept.getframerate(), kept.getnchannels(), kept.getsampwidth()) == (24_000, 1, 2)
        pcm = np.frombuffer(kept.readframes(kept.getnframes()), "<i2") / 32767
    assert read_tones(pcm.astype(np.float32), 24_000).startswith("you said hello.")


def test_typed_lines_and_the_page_address_work_too(scripted_server):
    done = command(
        scripted_server,
        "--text",
        "good morning",
        "--url",
        f"http://127.0.0.1:{scripted_server.http_port}",
    )
    assert done.returncode == 0, done.stderr
    assert "bot: You said good morning. That is 2 words." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "nothing to say"),
        (["no-such-file.wav"], 1, "does not exist"),
        (["README"], 1, "cannot be read as audio"),
        (["--text", "unspeakable"], 1, "could not answer"),
        (["--text", "hi", "--url", "gopher://x"], 1, "is not an address"),
        (["--text", "hi", "--language", "x" * 30], 1, "language"),
    ],
)
def test_what_goes_wrong_ends_with_a_sentence_and_a_code(
    scripted_server, tmp_path, arguments, code, says
):
    (tmp_path / "README").write_text("no audio")
    done = command(
        scripted_server,
        *[str(tmp_path / "README") if each == "README" else each for each in arguments],
    )
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("url", "sockets"),
    [
        ("ws://127.0.0.1", ("ws://127.0.0.1:6006", "ws://127.0.0.1:8888")),
        ("home.example", ("ws://home.example:6006", "ws://home.example:8888")),
        ("ws://[::1]", ("ws://[::1]:6006", "ws://[::1]:8888")),
        ("http://h:8000/", ("ws://h:8000/transcription", "ws://h:8000/audio")),
        (
            "https://h.example/voice",
            ("wss://h.example/voice/transcription", "wss://h.example/voice/audio"),
        ),
    ],
)
def test_addresses(url, sockets):
    assert talk.addresses(url, Settings()) == sockets


def test_no_flag_of_talk_is_a_setting():
    parser = argparse.ArgumentParser()
    talk.add_arguments(parser)
    assert not set(vars(parser.parse_args([]))) & set(Settings.__dataclass_fields__)


# --- screen and loudspeaker ---------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO, *happened: events.Event) -> str:
    screen = talk.Screen(out)
    for event in happened:
        screen.show(event)
    return out.getvalue()


def piece(text: str, last: bool) -> events.ReplyText:
    return events.ReplyText(1, 0, text, last)


LATENCY = events.Latency(1, 0, 1, 0, 2, 0, 3, reused=True)


def test_an_interim_transcript_grows_in_a_terminal_only():
    happened = [events.Transcript("hel"), events.UserTurn(1, "hello")]
    assert shown(io.StringIO(), *happened) == "you: hello\n"
    assert shown(Terminal(), *happened).replace("\r\033[K", "|") == "|  … hel|you: hello\n"


def test_remarks_wait_for_the_end_of_a_reply_and_speech_does_not():
    reply = [piece("One.", False), LATENCY, piece("Two.", True)]
    assert shown(io.StringIO(), *reply).startswith(
        "bot: One. Two.\n     (after the end of speech: words 1 ms, first token 2 ms"
    )
    cut = [reply[0], events.ReplyInterrupted(1, "One"), events.UserTurn(2, "stop")]
    assert shown(io.StringIO(), *cut) == "bot: One.\n     (interrupted; played: One)\nyou: stop\n"


def test_a_paused_reply_is_silent_and_goes_on_or_is_thrown_away():
    player, out = talk.Player(), np.ones((4, 1), np.float32)
    audio = events.ReplyAudio(1, b"")

    def samples(*happened: events.Event) -> list[float]:
        for event in happened:
            player.observe(Observed(0.0, event, np.array([1, 2, 3, 4, 5, 6], np.float32)))
        player.fill(out, 4, None, None)
        return out[:, 0].tolist()

    assert samples() == [0, 0, 0, 0]
    assert samples(audio) == [1, 2, 3, 4]
    assert samples(events.Paused()) == [0, 0, 0, 0]
    assert samples(events.Resumed()) == [5, 6, 0, 0]
    assert samples(audio, audio) == [1, 2, 3, 4]
    assert samples(events.Paused(), events.Flushed(1)) == [0, 0, 0, 0]
    assert samples(audio) == [1, 2, 3, 4]
