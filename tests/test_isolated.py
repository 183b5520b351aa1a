"""Engines in another interpreter: the contract holds, and what cannot be used there is told in words.

The other interpreter is this one's own executable, which has the same libraries.
"""

from __future__ import annotations

import re
import sys
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_checks import BAD_AUDIO, ENGLISH, SECOND, errors
from isolated_checks import ask, install_odd, reply

from fusion.engines import ASROptions, EngineError, isolated, load
from fusion.engines.scripted import read_tones, tone_speech


@pytest.fixture(scope="module", autouse=True)
def odd_package(tmp_path_factory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("packages")
    install_odd(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


@pytest.fixture(scope="module")
def shared() -> Iterator[Callable[..., Any]]:
    """Engines that tests only talk to, by kind, name and options; each is started once."""
    made: dict[str, Any] = {}

    def get(kind: str, name: str, **options: Any) -> Any:
        key = f"{kind} {name}"
        made[key] = made.get(key) or load(kind, name, python=sys.executable, **options)
        return made[key]

    yield get
    for engine in made.values():
        engine.close()


def say(engine: Any, text: str, voice: str = "", speed: float = 1.0) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *engine.speak(text, voice, speed)])


# --- the contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scripted", "hibari"])
def test_speech_is_the_same(shared, hibari, name):
    there, here = shared("tts", name, voice=""), hibari if name == "hibari" else load("tts", name, voice="")
    assert (there.model, there.device, there.sample_rate, there.voices) == (here.model, here.device, here.sample_rate, here.voices)
    for text, speed in [("Hello there.", 1.0), ("On the third of March, it rained. " * 3, 1.3), ("", 1.0), ("\ud800 bad", 1.0)]:
        heard = say(there, text, speed=speed)
        assert heard.dtype == np.float32
        np.testing.assert_array_equal(heard, say(here, text, speed=speed))
    with pytest.raises(EngineError) as told:
        say(here, "Hello.", "nobody")
    with pytest.raises(EngineError, match=f"^{re.escape(str(told.value))}$"):
        say(there, "Hello.", "nobody")


def test_closing_speech_leaves_the_engine_usable(shared):
    voice = shared("tts", "scripted", voice="")
    pieces = voice.speak("this is one sentence. " * 50, "", 1.0)
    assert len(next(piece for piece in pieces if len(piece))) > 0
    pieces.close()
    assert read_tones(say(voice, "hello there."), voice.sample_rate) == "hello there."
    with pytest.raises(EngineError, match="told to fail"):
        say(voice, "unspeakable")


def test_speakers_at_once_say_their_own(shared):
    voice, texts = shared("tts", "scripted", voice=""), ["hello there.", "the capital of france is paris, and that is all.", "yes."] * 4
    with ThreadPoolExecutor(6) as pool:
        assert [read_tones(pcm, voice.sample_rate) for pcm in pool.map(lambda text: say(voice, text), texts)] == texts


def test_replies(shared):
    llm = shared("llm", "scripted", parallel=3)
    assert (llm.model, llm.parallel) == ("echo", 3)
    llm.prepare((("system", "be kind"), ("user", "hi")))
    assert [p for p in reply(llm, "alpha beta") if p] == ["You", " said", " alpha", " beta.", " That", " is", " 2", " words."]
    assert ask(llm, "alpha", max_tokens=2) == "You said"
    assert "".join(llm.reply((("assistant", "Paris."), ("user", "recall")), max_tokens=9, temperature=0.0)) == "I said: Paris."
    for text in ("", "\ud800", "\x00\u2028\x85", "{}[]<|im_end|>"):
        assert isinstance(ask(llm, text), str)
    for word in ("explode", "halfway"):
        with pytest.raises(EngineError, match="told to"):
            ask(llm, word)


def test_callers_at_once_get_their_own(shared):
    llm, names = shared("llm", "scripted", parallel=3), [f"name{n}" for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda name: ask(llm, name), names)) == [f"You said {name}. That is 1 word." for name in names]


@pytest.mark.parametrize("name", ["scripted", "faster-whisper"])
def test_hearing(shared, stored, sound, recordings, name):
    if name == "scripted":
        asr, clips = shared("asr", name), [(t, np.pad(tone_speech(t), (4000, 8000))) for t in ("the birch canoe", "is it processing?")]
    else:
        asr = shared("asr", name, model=stored("whisper-tiny.en", "asr"), device="cpu", threads=1)
        clips = [(recordings[n]["text"], sound(n)) for n in ("harvard-sb-birch.flac", "riva-nlp.flac")]
    utterances = [(said, asr.begin(ENGLISH), np.array_split(pcm, 3)) for said, pcm in clips]
    for step in range(3):
        for _, utterance, parts in utterances:
            heard = utterance.hear(parts[step])
            assert heard.text or step < 2
    for said, utterance, _ in utterances:
        last = utterance.finish()
        assert (errors(said, last.text), last.language) == (0, "en")
    (said, pcm), (said_then, pcm_then) = clips
    segments = list(asr.transcribe(np.concatenate((pcm, np.zeros(SECOND, np.float32), pcm_then)), ENGLISH))
    assert errors(f"{said} {said_then}", " ".join(s.text for s in segments)) == 0
    assert segments[-1].end_s > len(pcm) / SECOND + 1


def test_words_have_times(shared):
    utterance = shared("asr", "scripted").begin(ASROptions(language="en", word_timestamps=True))
    utterance.hear(np.pad(tone_speech("one two"), (0, 8000)))
    here = load("asr", "scripted").begin(ASROptions(language="en", word_timestamps=True))
    here.hear(np.pad(tone_speech("one two"), (0, 8000)))
    assert utterance.finish() == here.finish()
    assert [word.text for segment in here.finish().segments for word in segment.words] == ["one", "two"]


@pytest.mark.parametrize("bad", BAD_AUDIO)
def test_bad_audio_is_refused_in_the_engines_words_and_forgotten(shared, bad):
    asr = shared("asr", "scripted")
    utterance = asr.begin(ENGLISH)
    with pytest.raises(EngineError, match="audio must be one channel|values that are no numbers"):
        utterance.hear(BAD_AUDIO[bad])
    with pytest.raises(EngineError, match="audio must be one channel|values that are no numbers"):
        list(asr.transcribe(BAD_AUDIO[bad], ENGLISH))
    utterance.hear(np.pad(tone_speech("alpha"), (0, 8000)))
    assert utterance.finish().text == "alpha"
    assert utterance.hear(np.zeros(0, np.float32)).text == "alpha"


def test_options_are_refused_where_they_are_given(shared):
    asr = shared("asr", "odd")
    with pytest.raises(EngineError, match="nobody dances"):
        asr.begin(ASROptions(task="dance"))


def test_utterances_that_nobody_holds_are_let_go(shared):
    asr = shared("asr", "odd")
    kept = [asr.begin(ENGLISH) for _ in range(5)]
    assert kept[0].hear(np.zeros(9, np.float32)).text == "5"
    del kept[1:]
    last = asr.begin(ENGLISH)  # which tells
    assert last.finish().text == "2"
    assert last.finish().language_probability == 0.5  # numpy's number is Python's here


# --- interpreters that cannot be used -----------------------------------------------------------------------------


def program(path: Path, body: str) -> str:
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\nto_us = int(sys.argv[4])\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_wrong_interpreters_are_told(tmp_path, monkeypatch):
    for path in ("/no/such/python", str(tmp_path), __file__):
        with pytest.raises(EngineError, match=r"python=.* is no program that can be run; give the path of an interpreter"):
            load("llm", "scripted", python=path)
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o755)
    with pytest.raises(EngineError, match="cannot be started.*python="):
        load("llm", "scripted", python=str(tmp_path / "empty"))
    with pytest.raises(EngineError, match=r"true ended before it was loaded \(exit code 0"):
        load("llm", "scripted", python="true")
    with pytest.raises(EngineError, match=r"talks nonsense: b'usage: .*' is no frame"):
        load("llm", "scripted", python=program(tmp_path / "chatty", "os.write(to_us, b'usage: chatty [file]'); time.sleep(1000)"))
    monkeypatch.setattr(isolated, "HELLO_S", 0.3)
    with pytest.raises(EngineError, match="did not say hello within 0.3 s"):
        load("llm", "scripted", python=program(tmp_path / "silent", "time.sleep(1000)"))


def test_a_load_that_does_not_end_is_ended(tmp_path, monkeypatch):
    (tmp_path / "trouble").write_text("threading.Event().wait()")
    monkeypatch.setattr(isolated, "LOAD_S", 0.3)
    with pytest.raises(EngineError, match="not loaded within 0.3 s"):
        load("llm", "odd", python=sys.executable, trouble=str(tmp_path / "trouble"))


def test_what_is_missing_there_is_named(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(EngineError, match=rf"the package 'numpy' is missing in {bare} \(Python 3.*{bare} -m pip install"):
        load("tts", "scripted", python=bare)
    with pytest.raises(EngineError, match="the package 'no_such_library' is missing in"):
        load("llm", "lacking", python=sys.executable)


def test_the_repository_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = load("llm", "scripted", python=sys.executable)
    assert ask(engine, "alpha") == "You said alpha. That is 1 word."
    engine.close()


def test_engines_that_do_not_load(tmp_path, capfd):
    for options in ({"name": "nonsuch"}, {"name": "hibari", "voice": "nobody"}):
        with pytest.raises(EngineError) as told:
            load("tts", **options)
        with pytest.raises(EngineError, match=f"^{re.escape(str(told.value))}$"):
            load("tts", python=sys.executable, **options)
    with pytest.raises(EngineError, match="ended before it was loaded .exit code 70; the log says why"):
        load("llm", "odd", python=sys.executable, nonsense=1)
    assert "unexpected keyword argument 'nonsense'" in capfd.readouterr().err
    with pytest.raises(TypeError, match="cannot go to another interpreter"):
        load("llm", "odd", python=sys.executable, model=object())
    for kind in ("vad", "turn"):
        with pytest.raises(EngineError, match=f"a {kind} engine cannot run in another interpreter; only asr, llm, tts"):
            load(kind, "scripted", python=sys.executable)
