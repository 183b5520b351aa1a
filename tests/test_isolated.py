"""Engines in another interpreter: the contract holds, and whatever the other process does, a call ends and the next one works.

The other interpreter is this one's own executable; what a test needs it to do badly is done by the engine "odd", which is
installed for the child alone: as a package on PYTHONPATH with entry points, the way other people's engines are.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, alive
from engine_checks import BAD_AUDIO, ENGLISH, SECOND, errors, eventually

from fusion.engines import ASROptions, EngineError, isolated, isolated_process, load
from fusion.engines.scripted import read_tones, tone_speech
from fusion.wire.engine_pipe import WINDOW

ODD = '''
import ctypes, os, subprocess, sys, threading, weakref
from pathlib import Path
import numpy as np
from fusion.engines import EngineError, Hypothesis

print("the library says hello on import")

class LLM:
    """Says and does what the last word of the user asks for. One reply at a time."""
    def __init__(self, *, model="", trouble="", parallel=1):
        if trouble and Path(trouble).exists():
            exec(Path(trouble).read_text())
        self.model, self.device, self.parallel = model, "cpu", parallel
        self.one, self.made = threading.Lock(), 0

    def prepare(self, lines):
        os.write(1, b"prepared\\n")

    def reply(self, lines, *, max_tokens, temperature):
        word = lines[-1][1]
        if word == "made":
            yield str(self.made)
            return
        with self.one:
            yield ""
            if word == "noise":
                print("WFE1" * 100); os.write(1, b"\\x00" * 5000); subprocess.run(["echo", "from a child"])
                yield repr(sys.stdin.read())
            elif word == "bug":
                yield "so far so good"
                raise ValueError("an index is off by one")
            elif word == "exit":
                sys.exit()
            elif word == "hang":
                threading.Event().wait()
            elif word == "hold":
                ctypes.PyDLL(None).pause()
            elif word == "pulses":
                while threading.Event().wait(0.01) is False:
                    yield ""
            elif word == "many":
                for self.made in range(100_000):
                    yield f"{self.made} "
            elif word == "fork":
                if os.fork() == 0:
                    threading.Event().wait()
                os._exit(3)
            else:
                yield word

class Utterance:
    def __init__(self, live):
        self.live = live
        live.add(self)
    def hear(self, pcm):
        return Hypothesis(str(len(self.live)), "en", np.float32(0.5))
    finish = lambda self: self.hear(None)

class ASR:
    model, device, languages = "odd", "cpu", ("en",)
    def __init__(self):
        self.live = weakref.WeakSet()
    def begin(self, options):
        if options.task == "dance":
            raise EngineError("nobody dances here")
        return Utterance(self.live)

class Lacking:
    def __init__(self):
        import no_such_library
'''


@pytest.fixture(scope="module", autouse=True)
def odd_package(tmp_path_factory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("packages")
    (folder / "odd.py").write_text(ODD)
    info = folder / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    points = "[whisperfusion.llm]\nodd = odd:LLM\nlacking = odd:Lacking\n[whisperfusion.asr]\nodd = odd:ASR\n"
    (info / "entry_points.txt").write_text(points)
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


@pytest.fixture
def odd() -> Iterator[Any]:
    engine = load("llm", "odd", python=sys.executable)
    yield engine
    engine.close()


def reply(engine: Any, *texts: str, max_tokens: int = 24) -> Iterator[str]:
    return engine.reply([("user", text) for text in texts], max_tokens=max_tokens, temperature=0.0)


def ask(engine: Any, *texts: str, max_tokens: int = 24) -> str:
    """The pulses, ten a second, bound a test that fails."""
    pieces = []
    for piece in reply(engine, *texts, max_tokens=max_tokens):
        pieces.append(piece)
        assert pieces[-200:].count("") < 200, "nothing came for twenty seconds"
    return "".join(pieces)


def say(engine: Any, text: str, voice: str = "", speed: float = 1.0) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *engine.speak(text, voice, speed)])


def pid_of(engine: Any) -> int:
    return engine._keeper.child_now().pid


def kill(engine: Any) -> None:
    os.kill(pid_of(engine), signal.SIGKILL)


def usable(engine: Any) -> bool:
    """`EngineError` of a child that just went is no answer yet."""
    try:
        return ask(engine, "alpha") == "alpha"
    except EngineError:
        return False


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


# --- noise, bugs, deaths ----------------------------------------------------------------------------------------


@pytest.fixture
def typed() -> Iterator[None]:
    """Somebody has typed something for this process."""
    (reader, writer), before = os.pipe(), os.dup(0)
    os.write(writer, b"for the server alone")
    os.dup2(reader, 0)
    for descriptor in (reader, writer):
        os.close(descriptor)
    yield
    os.dup2(before, 0)
    os.close(before)


def test_what_libraries_print_and_ask_does_no_harm(capfd, typed):
    odd = load("llm", "odd", python=sys.executable)
    assert ask(odd, "noise") == "''"
    odd.prepare((("user", "hi"),))
    out, err = capfd.readouterr()
    assert out == ""
    for text in ("from a child", "prepared", "WFE1" * 100):
        assert text in err
    odd.close()


def test_a_bug_ends_the_process_and_the_calls_in_it(capfd):
    odd = load("llm", "odd", python=sys.executable)
    before = pid_of(odd)
    asked = reply(odd, "bug")
    assert next(p for p in asked if p) == "so far so good"
    with pytest.raises(EngineError, match=r"odd in .*python.* ended \(exit code 70; the log says why\); it is being started again"):
        list(asked)
    assert "ValueError: an index is off by one" in capfd.readouterr().err
    assert not alive(before)
    assert ask(odd, "alpha") == "alpha"
    assert pid_of(odd) != before
    odd.close()


@pytest.mark.parametrize("word", ["exit", "fork"])
def test_odd_ends_are_ends(odd, word):
    with pytest.raises(EngineError, match="exit code (70|3)"):
        ask(odd, word)
    assert ask(odd, "alpha") == "alpha"


def test_a_killed_child_ends_all_calls_at_once_and_the_next_are_served(shared):
    llm = load("llm", "scripted", python=sys.executable)
    streams = [reply(llm, "forever") for _ in range(3)]
    assert all("on it goes" in next(p for p in stream if p) for stream in streams)
    kill(llm)
    for stream in streams:
        with pytest.raises(EngineError, match="killed by signal 9"):
            list(stream)
    assert ask(llm, "alpha") == "You said alpha. That is 1 word."
    llm.close()


def test_an_utterance_dies_with_its_child_and_a_new_one_works():
    asr = load("asr", "scripted", python=sys.executable)
    utterance = asr.begin(ENGLISH)
    assert utterance.hear(np.pad(tone_speech("alpha"), (0, 8000))).text == "alpha"
    kill(asr)
    for method in (lambda: utterance.hear(tone_speech("beta")), utterance.finish):
        with pytest.raises(EngineError, match="being started again"):
            method()
    fresh = asr.begin(ENGLISH)  # perhaps before there is a child again
    assert fresh.hear(np.pad(tone_speech("gamma"), (0, 8000))).text == "gamma"
    asr.close()


def test_what_cannot_be_started_again_is_tried_later_and_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(isolated, "GIVE_UP_S", 0.2)
    trouble = tmp_path / "trouble"
    engine = load("llm", "odd", python=sys.executable, trouble=str(trouble))
    trouble.write_text("raise EngineError('the card has fallen off the bus')")
    kill(engine)
    with caplog.at_level(logging.WARNING):
        eventually(lambda: len(re.findall("fallen off the bus", caplog.text)) == 2)
    assert re.findall(r"starting it again in ([\d.]+) s", caplog.text) == ["0.2", "0.4", "0.8"]
    with pytest.raises(EngineError, match="is being started again; try again in a moment"):
        ask(engine, "alpha")
    trouble.unlink()
    eventually(lambda: usable(engine))
    engine.close()


# --- cancelling, and children that do not listen ------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["many", "pulses"])
def test_closing_reaches_the_engine(odd, word):
    """This engine makes one reply at a time: the next can only be had when the one before has stopped."""
    pieces = reply(odd, word)
    assert [next(pieces) for _ in range(3)] == (["", "", ""] if word == "pulses" else ["0 ", "1 ", "2 "])
    pieces.close()
    assert list(pieces) == []
    assert ask(odd, "alpha") == "alpha"


def test_an_engine_is_not_far_ahead_of_its_listener(odd):
    pieces = reply(odd, "many")
    taken = [next(p for p in pieces if p)]
    eventually(lambda: int(ask(odd, "made")) >= WINDOW)
    assert [int(ask(odd, "made")) for _ in range(50)][-1] <= WINDOW + 1
    taken += islice((p for p in pieces if p), 5 * WINDOW)
    assert taken == [f"{n} " for n in range(5 * WINDOW + 1)]  # and none is lost
    pieces.close()


def test_a_stopped_child_stops_nobody(shared):
    asr, llm = load("asr", "scripted", python=sys.executable), load("llm", "scripted", python=sys.executable)
    for engine in (asr, llm):
        os.kill(pid_of(engine), signal.SIGSTOP)
    pieces = reply(llm, "forever")
    assert next(pieces) == ""
    pieces.close()
    with ThreadPoolExecutor(1) as pool:
        first = asr.begin(ENGLISH)
        heard = pool.submit(first.hear, np.pad(tone_speech("alpha"), (0, 4_000_000)))  # far more than a pipe holds
        fresh = [asr.begin(ENGLISH) for _ in range(3)]
        assert not heard.done()
        os.kill(pid_of(asr), signal.SIGCONT)
        assert heard.result(30).text == "alpha"
    assert fresh[2].finish().text == ""
    os.kill(pid_of(llm), signal.SIGCONT)
    assert ask(llm, "alpha") == "You said alpha. That is 1 word."
    asr.close()
    llm.close()


def test_a_child_that_does_not_stop_is_replaced(odd, monkeypatch):
    pieces = reply(odd, "hang")
    assert next(pieces) == ""
    pieces.close()
    monkeypatch.setattr(isolated_process, "STUCK_S", 0.0)
    with pytest.raises(EngineError, match="did not stop within 0 s"):
        ask(odd, "alpha")
    assert ask(odd, "alpha") == "alpha"


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


# --- nothing is left behind ---------------------------------------------------------------------------------------


HOST = """
import logging, sys, threading
from fusion.engines import isolated_process, load
if sys.argv[1] == "loading":
    born = isolated_process.Child.messages
    def messages(child):
        print(child.pid, flush=True)
        return born(child)
    isolated_process.Child.messages = messages
    load("llm", "odd", python=sys.executable, trouble=sys.argv[2])
engine = load("llm", "odd", python=sys.executable)
pieces = engine.reply([("user", sys.argv[1])], max_tokens=9, temperature=0.0)
next(pieces)
print(engine._keeper.child_now().pid, flush=True)
if sys.argv[2] != "leave":
    threading.Event().wait()
"""


@pytest.mark.parametrize("state", ["alpha", "many", "hang", "hold", "loading"])
@pytest.mark.parametrize("end", ["kill", "leave"])
def test_no_child_outlives_its_host(tmp_path, state, end):
    """"hold": a library hangs with the interpreter's lock, so that no Python can run there."""
    trouble = tmp_path / "trouble"
    trouble.write_text("threading.Event().wait()")
    if (state, end) == ("loading", "leave"):
        pytest.skip("it waits for the load")
    path = f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"
    with subprocess.Popen([sys.executable, "-c", HOST, state, str(trouble) if state == "loading" else end], stdout=subprocess.PIPE,
                          text=True, env={**os.environ, "PYTHONPATH": path}) as host:
        assert host.stdout
        child = int(host.stdout.readline())
        assert alive(child) or end == "leave"
        if end == "kill":
            host.kill()
        host.wait(30)
    eventually(lambda: not alive(child))


def test_ctrl_c_and_closing(odd):
    assert os.getpgid(pid_of(odd)) != os.getpgid(0)  # a terminal interrupts a whole group
    child = pid_of(odd)
    pieces = reply(odd, "many")
    next(pieces)
    odd.close()
    assert not alive(child)
    with pytest.raises(EngineError):
        list(pieces)


def resources() -> tuple[int, int]:
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what is in /proc")
def test_calls_deaths_and_closing_leave_no_thread_and_no_file():
    start = resources()
    engine = load("llm", "odd", python=sys.executable)
    loaded = start[0] + 2, start[1] + 2  # a thread and a pipe end for each direction
    eventually(lambda: resources() == loaded)
    child = pid_of(engine)

    def theirs() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{child}/task")), len(os.listdir(f"/proc/{child}/fd"))

    ask(engine, "alpha")
    at_first = theirs()
    for _ in range(25):
        assert ask(engine, "alpha") == "alpha"
        pieces = reply(engine, "many")
        next(pieces)
        pieces.close()
    assert ask(engine, "alpha") == "alpha"
    eventually(lambda: all(now <= then for now, then in zip(theirs(), at_first, strict=True)))
    assert resources() == loaded
    for _ in range(2):
        kill(engine)
        eventually(lambda: usable(engine))
    eventually(lambda: resources() == loaded)
    engine.close()
    with pytest.raises(EngineError):
        load("llm", "nonsuch", python=sys.executable)
    eventually(lambda: resources() == start)
