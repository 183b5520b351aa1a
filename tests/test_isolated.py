"""Engines in another interpreter: what they do there is what they do here, and what cannot be used
there is told in words.

The other interpreter is this one's own executable, which has the same libraries.
"""

from __future__ import annotations

import re
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_checks import BAD_AUDIO, ENGLISH, SECOND, errors, eventually
from isolated_checks import ask, install_odd, kill, reply, usable

from whisperfusion.engines import (
    ASROptions,
    BatchASR,
    EngineError,
    LanguageDetectingASR,
    Progress,
    Thought,
    ToolCall,
    ToolLLM,
    Truncated,
    WarmLLM,
    decode_batch,
    detect_language,
    load,
    transcribe_batch,
)
from whisperfusion.engines.isolated import keeper
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.errors import Refused
from whisperfusion.tools import Function, Tools
from whisperfusion.wire.engine_pipe import WINDOW


@pytest.fixture(scope="module", autouse=True)
def odd_package(tmp_path_factory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("packages")
    install_odd(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


def say(engine: Any, text: str, voice: str = "", speed: float = 1.0) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *engine.synthesize(text, voice, speed)])


# --- beside the contracts of test_asr.py, test_llm.py and test_tts.py ---------------------------


def test_speech_is_the_same(apart):
    there, here = apart("tts", "scripted"), load("tts", "scripted")
    assert (there.model, there.device, there.sample_rate, there.voices) == (
        here.model,
        here.device,
        here.sample_rate,
        here.voices,
    )
    for text, speed in [
        ("Hello there.", 1.0),
        ("On the third of March, it rained. " * 3, 1.3),
        ("", 1.0),
        ("\ud800 bad", 1.0),
    ]:
        result = say(there, text, speed=speed)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, say(here, text, speed=speed))
    with pytest.raises(EngineError) as told:
        say(here, "Hello.", "nobody")
    with pytest.raises(EngineError, match=f"^{re.escape(str(told.value))}$"):
        say(there, "Hello.", "nobody")


def test_replies(apart):
    llm = apart("llm", "scripted", parallel=3)
    assert (llm.model, llm.parallel) == ("echo", 3)
    list(llm.prefill((("system", "be kind"), ("user", "hi"))))
    assert [p for p in reply(llm, "alpha beta") if p] == [
        "You",
        " said",
        " alpha",
        " beta.",
        " That",
        " is",
        " 2",
        " words.",
    ]
    assert ask(llm, "alpha", max_tokens=2) == "You said"
    assert (
        "".join(
            llm.stream_chat(
                (("assistant", "Paris."), ("user", "recall")), max_tokens=9, temperature=0.0
            )
        )
        == "I said: Paris."
    )
    for text in ("", "\ud800", "\x00\u2028\x85", "{}[]<|im_end|>"):
        assert isinstance(ask(llm, text), str)
    for word in ("explode", "halfway"):
        with pytest.raises(EngineError, match="told to"):
            ask(llm, word)


def test_streams_that_nobody_reads_hold_back_no_other_call(apart):
    llm = apart("llm", "scripted", parallel=3)
    unread = [
        llm.stream_chat([("user", "forever")], max_tokens=10**6, temperature=0.0) for _ in range(2)
    ]
    assert all("on it goes" in next(piece for piece in pieces if piece) for pieces in unread)
    assert [ask(llm, "alpha") for _ in range(2 * WINDOW)] == [
        "You said alpha. That is 1 word."
    ] * 2 * WINDOW
    for pieces in unread:
        pieces.close()


def test_hearing(apart, stored, sound, recordings):
    asr = apart(
        "asr", "faster-whisper", model=stored("whisper-tiny.en", "asr"), device="cpu", threads=1
    )
    names = ("harvard-sb-birch.flac", "riva-nlp.flac")
    clips = [(recordings[name]["text"], sound(name)) for name in names]
    utterances = [
        (expected, asr.create_utterance(ENGLISH), np.array_split(pcm, 3)) for expected, pcm in clips
    ]
    for step in range(3):
        for _, utterance, parts in utterances:
            result = utterance.accept_audio(parts[step])
            assert result.text or step < 2
    for expected, utterance, _ in utterances:
        last = utterance.finish()
        assert (errors(expected, last.text), last.language) == (0, "en")
    (expected, pcm), (expected_then, pcm_then) = clips
    segments = list(
        asr.transcribe(np.concatenate((pcm, np.zeros(SECOND, np.float32), pcm_then)), ENGLISH)
    )
    assert errors(f"{expected} {expected_then}", " ".join(s.text for s in segments)) == 0
    assert segments[-1].end_s > len(pcm) / SECOND + 1


@pytest.mark.parametrize("bad", BAD_AUDIO)
def test_bad_audio_is_refused_in_the_engines_words_and_forgotten(apart, bad):
    asr = apart("asr", "scripted")
    utterance = asr.create_utterance(ENGLISH)
    with pytest.raises(EngineError, match="audio must be one channel|values that are not numbers"):
        utterance.accept_audio(BAD_AUDIO[bad])
    with pytest.raises(EngineError, match="audio must be one channel|values that are not numbers"):
        list(asr.transcribe(BAD_AUDIO[bad], ENGLISH))
    utterance.accept_audio(np.pad(tone_speech("alpha"), (0, 8000)))
    assert utterance.finish().text == "alpha"
    assert utterance.accept_audio(np.zeros(0, np.float32)).text == "alpha"


def test_options_are_refused_where_they_are_given(apart):
    asr = apart("asr", "odd")
    with pytest.raises(EngineError, match="nobody dances"):
        asr.create_utterance(ASROptions(task="dance"))


def test_utterances_that_nobody_holds_are_let_go(apart):
    asr = apart("asr", "odd")
    kept = [asr.create_utterance(ENGLISH) for _ in range(5)]
    assert kept[0].accept_audio(np.zeros(9, np.float32)).text == "5"
    del kept[1:]
    last = asr.create_utterance(ENGLISH)  # which tells
    assert last.finish().text == "2"
    # numpy's numbers are Python's here
    assert (last.finish().language_probability, last.finish().end_of_turn) == (0.5, 0.25)
    assert last.accept_audio(np.zeros(9, np.float32), final=False).text == "not final"


# --- abilities ----------------------------------------------------------------------------------


def test_only_the_abilities_that_it_has_there_show(apart):
    able, plain = apart("llm", "able"), apart("llm", "odd")
    assert isinstance(able, ToolLLM) and isinstance(able, WarmLLM)
    assert not isinstance(plain, (ToolLLM, WarmLLM))
    assert isinstance(apart("llm", "scripted", parallel=3), ToolLLM)
    able, plain = apart("asr", "able"), apart("asr", "scripted")
    assert isinstance(able, BatchASR) and isinstance(able, LanguageDetectingASR)
    assert not isinstance(plain, (BatchASR, LanguageDetectingASR))


def test_functions_thoughts_and_warming_up(apart):
    llm, tools = apart("llm", "able"), Tools((Function("look", {"name": "look"}),), "required")
    llm.warm_up((("system", "be kind"),))
    found = [
        piece
        for piece in llm.stream_chat([("user", "hi")], max_tokens=9, temperature=0.0, tools=tools)
        if piece or type(piece) is not str
    ]
    assert [type(piece) for piece in found] == [Thought, Progress, str, ToolCall, Truncated]
    assert found[2:4] == ["1 warm", ToolCall("c1", "look", "required")]
    assert ask(llm, "hi") == "1 warm"
    kill(llm)
    eventually(lambda: usable(llm, "hi", "1 warm"))  # as it was, without being asked


def test_utterances_and_recordings_go_together(apart):
    asr = apart("asr", "able")
    begun = [asr.create_utterance(ENGLISH) for _ in range(5)]
    pcms = [np.full(length, 1, np.float32) for length in (5, 7, 9, 8)]
    jobs = [
        (begun[0], pcms[0], True),
        (begun[1], pcms[1], True),
        (begun[2], BAD_AUDIO["integers"], True),  # cannot be joined with the others
        (begun[3], pcms[2], False),
        (begun[4], pcms[3], True),
    ]
    first, second, third, fourth, fifth = decode_batch(asr, jobs)
    assert (first.text, fourth.text) == ("5 5 True", "9 9 False")
    assert isinstance(second, EngineError) and "a seven" in str(second)
    assert isinstance(fifth, Refused) and str(fifth) == "an eight"
    assert third.text == "5"  # by itself: so many utterances live
    recordings = [(pcms[0], ENGLISH), (pcms[2], ASROptions("de"))]
    wanted = {0, 1}
    found = transcribe_batch(asr, recordings, lambda at: at in wanted)
    assert [(at, one.text) for at, one in (next(found), next(found))] == [(0, "5 en"), (1, "9 de")]
    wanted.remove(0)
    assert {at for at, _ in found} <= {1}  # and it ends, because the engine is told
    assert detect_language(asr, pcms[0]) == ("de", 0.75)


# --- interpreters that cannot be used -----------------------------------------------------------


def program(path: Path, body: str) -> str:
    path.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nto_us = int(sys.argv[-1])\n{body}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_wrong_interpreters_are_told(tmp_path, monkeypatch):
    for path in ("/no/such/python", str(tmp_path), __file__):
        with pytest.raises(
            EngineError,
            match=r"python=.* is not a program that can be run; give the path of an interpreter",
        ):
            load("llm", "scripted", python=path)
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o755)
    with pytest.raises(EngineError, match="cannot be started.*python="):
        load("llm", "scripted", python=str(tmp_path / "empty"))
    with pytest.raises(EngineError, match=r"true ended before it was loaded \(exit code 0"):
        load("llm", "scripted", python="true")
    with pytest.raises(EngineError, match=r"talks nonsense: b'usage: .*' is not a frame"):
        load(
            "llm",
            "scripted",
            python=program(
                tmp_path / "chatty", "os.write(to_us, b'usage: chatty [file]'); time.sleep(1000)"
            ),
        )
    monkeypatch.setattr(keeper, "HELLO_S", 0.3)
    with pytest.raises(EngineError, match="did not say hello within 0.3 s"):
        load("llm", "scripted", python=program(tmp_path / "silent", "time.sleep(1000)"))


def test_a_load_that_does_not_end_is_ended(tmp_path, monkeypatch):
    (tmp_path / "trouble").write_text("threading.Event().wait()")
    monkeypatch.setattr(keeper, "LOAD_S", 0.3)
    with pytest.raises(EngineError, match="not loaded within 0.3 s"):
        load("llm", "odd", python=sys.executable, trouble=str(tmp_path / "trouble"))


def test_what_is_missing_there_is_named(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(
        EngineError,
        match=rf"the package 'numpy' is missing in {bare} \(Python 3.*{bare} -m pip install",
    ):
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
    with pytest.raises(
        EngineError, match="ended before it was loaded .exit code 70; the log says why"
    ):
        load("llm", "odd", python=sys.executable, nonsense=1)
    assert "unexpected keyword argument 'nonsense'" in capfd.readouterr().err
    with pytest.raises(TypeError, match="cannot go to another interpreter"):
        load("llm", "odd", python=sys.executable, model=object())
    for kind in ("vad", "turn"):
        with pytest.raises(
            EngineError,
            match=f"a {kind} engine cannot run in another interpreter; only asr, llm, tts",
        ):
            load(kind, "scripted", python=sys.executable)
