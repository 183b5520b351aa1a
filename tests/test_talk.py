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

from fusion import talk
from fusion.client import Call, CallError, Observed, converse, first_audible, speech_span
from fusion.engines.scripted import read_tones, tone_speech
from fusion.settings import Settings

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


def command(server, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    ports = [f"--asr-port={server.asr_port}", f"--tts-port={server.tts_port}", *flags]
    return subprocess.run([sys.executable, "main.py", *ports, "talk", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=90)


# --- the caller -----------------------------------------------------------------------------------


async def test_a_spoken_turn_has_words_sound_and_times_in_order(scripted_server):
    spoken = await converse(recording("alpha beta"), scripted_server.asr_url, scripted_server.tts_url)
    assert spoken.caption == "alpha beta"
    assert spoken.reply == "You said alpha beta. That is 2 words."
    assert read_tones(spoken.audio, 24_000).startswith("you said alpha beta.")
    assert spoken.end_of_speech - spoken.began == pytest.approx((len(SILENCE) + 10 * 640) / 16_000, abs=0.03)
    assert spoken.began < spoken.end_of_speech < spoken.first_sound and spoken.first_caption < spoken.first_sound
    assert spoken.caption_lags and min(spoken.caption_lags) > 0  # no caption comes before its words were spoken
    assert spoken.latency["first_sound"] >= spoken.latency["words"]


async def test_one_call_can_hold_several_turns_and_typed_lines(scripted_server):
    async with Call(scripted_server.asr_url, scripted_server.tts_url) as call:
        first = await call.turn(recording("one two"))
        second = await call.turn(recording("three"))
        typed = await call.typed("four five six")
    assert [result.caption for result in (first, second, typed)] == ["one two", "three", "four five six"]
    assert typed.reply == "You said four five six. That is 3 words." and typed.audio.size


async def test_a_recording_sent_at_once_is_answered_too(scripted_server):
    pcm = np.concatenate([recording("one"), np.zeros(32_000, np.float32), recording("two")])
    result = await converse(pcm, scripted_server.asr_url, scripted_server.tts_url, fast=True)
    assert result.caption == "one two" and result.reply.count("You said") == 2


async def test_an_answer_that_does_not_come_is_named(scripted_server):
    with pytest.raises(CallError, match="speech was not heard"):
        await converse(np.zeros(800, np.float32), scripted_server.asr_url, scripted_server.tts_url, timeout_s=1)
    with pytest.raises(CallError, match="could not answer"):
        await converse(recording("explode"), scripted_server.asr_url, scripted_server.tts_url)


async def test_what_the_server_says_against_a_call_is_told(scripted_server):
    with pytest.raises(CallError, match="speed"):
        await converse(SILENCE, scripted_server.asr_url, scripted_server.tts_url, options={"speed": 9}, timeout_s=5)
    with pytest.raises(CallError, match="no server answers at ws://127.0.0.1:1 "):
        await converse(SILENCE, "ws://127.0.0.1:1", scripted_server.tts_url.rpartition(":")[0] + ":1")


def test_where_the_sound_of_a_recording_begins_and_ends():
    pcm = np.concatenate((np.zeros(1600), 0.3 * np.ones(3200), 0.0001 * np.ones(1600))).astype(np.float32)
    assert speech_span(pcm) == (1600, 4800)
    assert speech_span(np.zeros(5000, np.float32)) == (0, 0) == speech_span(np.zeros(0, np.float32))


def test_the_first_sound_is_the_first_sample_that_can_be_heard():
    quiet, late = np.zeros(2400, np.float32), np.concatenate((np.zeros(240), 0.5 * np.ones(10))).astype(np.float32)
    sounds = [Observed(1.0, "sound", {"pcm": quiet, "plays_at": 1.0}), Observed(1.05, "sound", {"pcm": late, "plays_at": 1.1})]
    assert first_audible(sounds) == pytest.approx(1.11)
    assert first_audible(sounds[:1]) is None


# --- the command ----------------------------------------------------------------------------------


def test_a_recording_of_any_kind_is_spoken_and_the_reply_kept(scripted_server, tmp_path):
    stereo = np.interp(np.arange(0, 1, 1 / 44_100), np.arange(0, 1, 1 / 16_000), np.pad(recording("hello"), (0, 16_000))[:16_000])
    spoken, reply = write_wav(tmp_path / "stereo.wav", stereo, 44_100, 2), tmp_path / "reply.wav"
    done = command(scripted_server, spoken, "--save", str(reply))
    assert done.returncode == 0, done.stderr
    assert "you: hello\nbot: You said hello. That is 1 word.\n" in done.stdout and "first sound" in done.stdout
    with wave.open(str(reply)) as kept:
        assert (kept.getframerate(), kept.getnchannels(), kept.getsampwidth()) == (24_000, 1, 2)
        pcm = np.frombuffer(kept.readframes(kept.getnframes()), "<i2") / 32767
    assert read_tones(pcm.astype(np.float32), 24_000).startswith("you said hello.")


def test_typed_lines_and_the_page_address_work_too(scripted_server):
    done = command(scripted_server, "--text", "good morning", "--url", f"http://127.0.0.1:{scripted_server.http_port}")
    assert done.returncode == 0, done.stderr
    assert "bot: You said good morning. That is 2 words." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [([], 2, "nothing to say"), (["no-such-file.wav"], 1, "there is no file"), (["README"], 1, "cannot be read as audio"),
     (["--text", "unspeakable"], 1, "could not answer"), (["--text", "hi", "--url", "gopher://x"], 1, "is no address"),
     (["--text", "hi", "--language", "x" * 30], 1, "language")],
)
def test_what_goes_wrong_ends_with_a_sentence_and_a_code(scripted_server, tmp_path, arguments, code, says):
    (tmp_path / "README").write_text("no audio")
    done = command(scripted_server, *[str(tmp_path / "README") if each == "README" else each for each in arguments])
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("url", "sockets"),
    [
        ("ws://127.0.0.1", ("ws://127.0.0.1:6006", "ws://127.0.0.1:8888")), ("home.example", ("ws://home.example:6006", "ws://home.example:8888")),
        ("ws://[::1]", ("ws://[::1]:6006", "ws://[::1]:8888")), ("http://h:8000/", ("ws://h:8000/transcription", "ws://h:8000/audio")),
        ("https://h.example/voice", ("wss://h.example/voice/transcription", "wss://h.example/voice/audio")),
    ],
)
def test_addresses(url, sockets):
    assert talk.addresses(url, Settings()) == sockets


def test_no_flag_of_talk_is_a_setting():
    parser = argparse.ArgumentParser()
    talk.add_arguments(parser)
    assert not set(vars(parser.parse_args([]))) & set(Settings.__dataclass_fields__)


# --- screen and loudspeaker -----------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO, *events: tuple[str, dict]) -> str:
    screen = talk.Screen(out)
    for kind, fields in events:
        screen.show(Observed(0.0, kind, fields))
    return out.getvalue()


LATENCY = ("latency", {"words": 1, "first_token": 2, "first_sound": 3, "reused": True})


def test_a_caption_grows_in_a_terminal_only():
    events = [("caption", {"text": "hel", "final": False}), ("turn", {"text": "hello"})]
    assert shown(io.StringIO(), *events) == "you: hello\n"
    assert shown(Terminal(), *events).replace("\r\033[K", "|") == "|  … hel|you: hello\n"


def test_remarks_wait_for_the_end_of_a_reply_and_speech_does_not():
    reply = [("reply", {"text": "One.", "last": False}), LATENCY, ("reply", {"text": "Two.", "last": True})]
    assert shown(io.StringIO(), *reply).startswith("bot: One. Two.\n     (after the end of speech: words 1 ms, first token 2 ms")
    cut = [reply[0], ("interrupted", {"heard": "One"}), ("turn", {"text": "stop"})]
    assert shown(io.StringIO(), *cut) == "bot: One.\n     (interrupted; heard: One)\nyou: stop\n"


def test_a_held_reply_is_silent_and_goes_on_or_is_thrown_away():
    player, out = talk.Player(), np.ones((4, 1), np.float32)

    def heard(*kinds: str) -> list[float]:
        for kind in kinds:
            player.observe(Observed(0.0, kind, {"pcm": np.array([1, 2, 3, 4, 5, 6], np.float32)}))
        player.fill(out, 4, None, None)
        return out[:, 0].tolist()

    assert heard() == [0, 0, 0, 0]
    assert heard("sound") == [1, 2, 3, 4]
    assert heard("hold") == [0, 0, 0, 0]
    assert heard("resume") == [5, 6, 0, 0]
    assert heard("sound", "sound") == [1, 2, 3, 4]
    assert heard("hold", "clear") == [0, 0, 0, 0]
    assert heard("start", "sound") == [1, 2, 3, 4]
