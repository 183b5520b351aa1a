"""Kokoro's process is killed in the middle of a sentence, beside three callers: who hears what, and
when is it back?

    python -m bench.killed_voice

The default language model answers an English caller, whose voice is killed in mid-sentence; a
Spanish one asks at the same moment, for whose language no other voice is there; a third reads its
replies. Reported are what each of them got, and the seconds from the kill until the new process is
ready, with its processor time, which is what an idle machine would need at most.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from bench.common import OUT, ROOT, BenchError, Server, say, server
from whisperfusion.audio import SPEECH_RATE
from whisperfusion.client import CallError, Notice, ReplyAudio
from whisperfusion.client.timed_call import TimedCall, only

LOG = "killed_voice.log"
FLAGS = (
    "--asr-language=en,es",
    "--tts-engine=kokoro",
    *(f"--{stage}-engine=scripted" for stage in ("asr", "vad", "turn", "speaker")),
    "--llm-max-tokens=60",
)
ENGLISH, SPANISH = (
    "What is the difference between tea and coffee?",
    "¿Qué mes viene después de junio?",
)
WAIT_S = 300.0  # a busy machine does not count as a failure
BACK = re.compile(r"kokoro in .* is back")
HEARD_S = 0.5  # of the sentence, before its voice is killed


@dataclass
class Back:
    """Seconds from the kill to the new process's word that it is ready, and its processor time."""

    wall_s: float
    processor_s: float


async def killed(at: Server) -> None:
    spanish_options = {"language": "es"}
    async with (
        TimedCall(at.asr_url, at.tts_url) as english,
        TimedCall(at.asr_url, at.tts_url, options=spanish_options) as spanish,
        TimedCall(at.asr_url, at.tts_url) as reader,
    ):
        await reader.call.listen(False)
        await spanish.typed(SPANISH, timeout_s=WAIT_S)  # its language's reader is loaded
        first = len(spanish.log)
        answer = asyncio.create_task(english.typed(ENGLISH, timeout_s=WAIT_S))
        await english.until(lambda: heard_s(english) > HEARD_S, WAIT_S, "the first sound")
        back = asyncio.create_task(asyncio.to_thread(until_back, process_of_voice()))
        others = asyncio.gather(
            told("Spanish", spanish, SPANISH), told("reading", reader, "What is two and two?")
        )
        before = heard_s(english)
        result = await answer
        say(
            f"English caller: {before:.1f} s were heard, {len(result.audio) / SPEECH_RATE:.1f} s "
            f"in all: {result.reply!r}"
        )
        await others
        found = await back
        say(
            f"Kokoro was ready {found.wall_s:.1f} s after the kill, {found.processor_s:.1f} s of "
            "them processor time"
        )
        await told("Spanish", spanish, SPANISH)
        for name, call in (("English", english), ("Spanish", spanish), ("reading", reader)):
            for one in only(call.log[first if call is spanish else 0 :], Notice):
                say(f"  notice to the {name} caller: {one.event.text}")


async def told(name: str, call: TimedCall, text: str) -> None:
    """Ask, and say what came of it."""
    try:
        result = await call.typed(text, timeout_s=WAIT_S)
        say(f"{name} caller: {result.reply!r}, {len(result.audio) / SPEECH_RATE:.1f} s of sound")
    except CallError as error:
        say(f"{name} caller: {error}")


def heard_s(call: TimedCall) -> float:
    return sum(len(one.pcm) for one in only(call.log, ReplyAudio)) / SPEECH_RATE


def process_of_voice() -> int:
    log = (OUT / LOG).read_text(encoding="utf-8")
    found = re.findall(r"kokoro in .* runs on Python .*\(process (\d+)\)", log)
    if not found:
        raise BenchError("Kokoro runs in no process of its own here: `make kokoro` installs it")
    return int(found[-1])


def until_back(process: int) -> Back:
    """Kill it, and wait for the next one. Blocks."""
    began = time.monotonic()
    os.kill(process, signal.SIGKILL)
    while not BACK.search(text := (OUT / LOG).read_text(encoding="utf-8")):
        if time.monotonic() - began > WAIT_S:
            raise BenchError(f"the voice did not come back:\n{text[-2000:]}")
        time.sleep(0.05)
    return Back(time.monotonic() - began, processor_s(process_of_voice()))


def processor_s(process: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    try:
        with server(ROOT, FLAGS, log=LOG) as running:
            asyncio.run(killed(running))
    except (BenchError, CallError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
