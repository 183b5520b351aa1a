"""What the tests of engines in another interpreter share: an engine that does badly what a test
asks for, and how it is talked to.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whisperfusion.engines import EngineError

ODD = '''
import ctypes, logging, os, subprocess, sys, threading, weakref
from pathlib import Path
import numpy as np
from whisperfusion.engines import (
    EngineError,
    Hypothesis,
    Progress,
    Segment,
    Thought,
    ToolCall,
    Truncated,
)
from whisperfusion.errors import Refused

print("the library says hello on import")

class LLM:
    """Says and does what the last word of the user asks for. One reply at a time."""
    def __init__(self, *, model="", trouble="", parallel=1):
        if trouble and Path(trouble).exists():
            exec(Path(trouble).read_text())
        self.model, self.device, self.parallel = model, "cpu", parallel
        self.one, self.made = threading.Lock(), 0

    def prefill(self, history):
        os.write(1, b"prepared\\n")
        yield ""

    def stream_chat(self, history, *, max_tokens, temperature):
        word = history[-1][1]
        if word == "made":
            yield str(self.made)
            return
        with self.one:
            yield ""
            if word == "noise":
                print("WFE1" * 100); os.write(1, b"\\x00" * 5000); subprocess.run(["echo", "from a child"])
                yield repr(sys.stdin.read())
            elif word == "log":
                logging.getLogger("odd").warning("worth knowing")
                logging.getLogger("chatty").warning("nobody wants to know")
            elif word == "bug":
                yield "so far so good"
                raise ValueError("an index is off by one")
            elif word == "full":
                raise Refused("others keep it busy")
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
    def accept_audio(self, pcm, final=True):
        text = str(len(self.live)) if final else "not final"
        return Hypothesis(text, "en", np.float32(0.5), end_of_turn=np.float32(0.25))
    finish = lambda self: self.accept_audio(None)

class ASR:
    model, device, languages = "odd", "cpu", ("en",)
    def __init__(self):
        self.live = weakref.WeakSet()
    def create_utterance(self, options):
        if options.task == "dance":
            raise EngineError("nobody dances here")
        return Utterance(self.live)

class AbleLLM(LLM):
    accepts_tools, warmed = True, 0

    def warm_up(self, history):
        self.warmed = len(history)

    def prefill(self, history, tools=None):
        yield ""

    def stream_chat(self, history, *, max_tokens, temperature, tools=None):
        yield Thought()
        yield Progress()
        yield f"{self.warmed} warm"
        if tools:
            yield ToolCall("c1", tools.functions[0].name, tools.choice)
        yield Truncated()

class AbleASR(ASR):
    def detect_language(self, pcm):
        return "de", np.float32(0.75)

    def decode_batch(self, jobs):
        def one(utterance, pcm, final):
            if len(pcm) == 7:
                return ValueError("a seven")
            if len(pcm) == 8:
                return Refused("an eight")
            return Hypothesis(f"{len(pcm)} {float(pcm.sum()):g} {final}", "en")
        return [one(*job) for job in jobs]

    def transcribe_batch(self, recordings, wanted):
        at = 0.0
        while wanted(0):
            for index, (pcm, options) in enumerate(recordings):
                yield index, Segment(at, at + 1, f"{len(pcm)} {options.language}")
            at += 1

class Lacking:
    def __init__(self):
        import no_such_library
'''


def install_odd(folder: Path) -> None:
    """As a package with entry points, which is how other people's engines are found; put
    `folder` on PYTHONPATH.
    """
    (folder / "odd.py").write_text(ODD)
    info = folder / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    points = (
        "[whisperfusion.llm]\nodd = odd:LLM\nable = odd:AbleLLM\nlacking = odd:Lacking\n"
        "[whisperfusion.asr]\nodd = odd:ASR\nable = odd:AbleASR\n"
    )
    (info / "entry_points.txt").write_text(points)


def reply(engine: Any, *texts: str, max_tokens: int = 24) -> Iterator[str]:
    return engine.stream_chat(
        [("user", text) for text in texts], max_tokens=max_tokens, temperature=0.0
    )


def ask(engine: Any, *texts: str, max_tokens: int = 24) -> str:
    return rest(reply(engine, *texts, max_tokens=max_tokens))


def rest(stream: Iterator[str]) -> str:
    """The pulses, ten a second, bound a test that fails."""
    pieces = []
    for piece in stream:
        pieces.append(piece)
        assert pieces[-200:].count("") < 200, "nothing came for twenty seconds"
    return "".join(pieces)


def pid_of(engine: Any) -> int:
    return engine._way.child_now().pid


def kill(engine: Any) -> None:
    os.kill(pid_of(engine), signal.SIGKILL)


def usable(engine: Any, text: str = "alpha", answer: str = "alpha") -> bool:
    """`EngineError` of a child that just went is not an answer yet."""
    try:
        return ask(engine, text) == answer
    except EngineError:
        return False
