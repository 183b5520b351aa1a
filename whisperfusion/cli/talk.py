"""`main.py talk`: speak recordings, the microphone or typed lines to a running server, see and
play the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import wave
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.errors import WhisperFusionError
from whisperfusion.paths import COMMAND
from whisperfusion.settings import Settings

if TYPE_CHECKING:
    from whisperfusion.client.events import Event, Latency
    from whisperfusion.client.timed_call import Observed, Result, TimedCall

MICROPHONE_FRAME_S = 0.04
RESUME_S = 60.0  # for which a microphone's call is opened again after its connection was lost


class TalkError(WhisperFusionError):
    """Something on this side prevents the call; the text says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Speak to a running server. The ports come from --asr-port and "
        "--tts-port, the key from --shared-secret."
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="recordings, in any audio or video format, spoken one after the other",
    )
    parser.add_argument(
        "--mic",
        action="store_true",
        help="speak through the microphone and play the answers, until Ctrl-C",
    )
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="LINE",
        help="type this line instead of speaking; may be repeated",
    )
    parser.add_argument(
        "--url",
        default="ws://127.0.0.1",
        help="the server; with a port it is the page's (ws://host:8000) [%(default)s]",
    )
    parser.add_argument(
        "--language", help="ISO code of what is spoken, or auto (default: the server's)"
    )
    parser.add_argument("--save", metavar="REPLY.wav", help="keep the sound of the replies")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="send recordings at once instead of in real time, each in a call of its own",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="longest wait for an answer [%(default)s]",
    )


def run(namespace: argparse.Namespace, settings: Settings) -> int:
    """0 = every recording and line got an answer in text and sound; 1 = not; 2 = nothing to say."""
    from whisperfusion.client.errors import CallError, KeyRefused

    if not (namespace.files or namespace.text or namespace.mic):
        print(
            f"{COMMAND} talk: nothing to say; give recordings, --text LINE or --mic",
            file=sys.stderr,
        )
        return 2
    try:
        results = asyncio.run(_talk(namespace, settings))
    except (CallError, TalkError) as error:
        hint = "; give it with --shared-secret" if isinstance(error, KeyRefused) else ""
        print(f"{COMMAND} talk: {error}{hint}", file=sys.stderr)
        return 1
    if namespace.save:
        _save(Path(namespace.save), results)
    return 0 if results and all(result.reply and result.audio.any() for result in results) else 1


def addresses(url: str, settings: Settings) -> tuple[str, str]:
    """The two sockets at `url`: by their ports, or behind the page's port when one is given."""
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="ws")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise TalkError(
            f"--url {url!r} is not an address of a server; allowed: ws://HOST, wss://HOST, or with "
            "the page's port ws://HOST:8000"
        )
    if parts.port or scheme == "wss":
        base = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        return f"{base}/transcription", f"{base}/audio"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{settings.asr_port}", f"{scheme}://{host}:{settings.tts_port}"


def read_audio(path: str) -> Samples:
    """Any audio or video file as float32 [samples] at 16 kHz, channels mixed."""
    import av
    import numpy as np

    try:
        with av.open(path) as container:
            if not container.streams.audio:
                raise TalkError(f"{path} has no sound in it")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=MICROPHONE_RATE)
            frames = [*container.decode(audio=0), None]
            parts = [part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)]
    except FileNotFoundError:
        raise TalkError(f"{path} does not exist") from None
    except (av.error.FFmpegError, OSError) as error:
        raise TalkError(f"{path} cannot be read as audio: {error}") from None
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


async def _talk(namespace: argparse.Namespace, settings: Settings) -> list[Result]:
    from whisperfusion.client.timed_call import TimedCall

    urls, screen = addresses(namespace.url, settings), Screen(sys.stdout)
    options: dict[str, Any] = {}
    if namespace.language:
        options["language"] = None if namespace.language == "auto" else namespace.language
    recordings = [read_audio(path) for path in namespace.files]
    results: list[Result] = []

    def call(watch: Any = screen.observe, resume_s: float = 0.0) -> TimedCall:
        own = {"options": options, "watch": watch, "resume_s": resume_s}
        return TimedCall(*urls, key=settings.key, **own)

    if namespace.fast:
        for recording in recordings:
            async with call() as fast:
                results.append(await fast.turn(recording, fast=True, timeout_s=namespace.timeout))
    if namespace.text or recordings and not namespace.fast:
        async with call() as open_call:
            for recording in [] if namespace.fast else recordings:
                results.append(await open_call.turn(recording, timeout_s=namespace.timeout))
            for line in namespace.text:
                results.append(await open_call.typed(line, timeout_s=namespace.timeout))
    if namespace.mic:
        results += await _converse_by_microphone(call, screen)
    return results


async def _converse_by_microphone(call: Any, screen: Screen) -> list[Result]:
    """Until Ctrl-C or the server's close; the result until then."""
    from whisperfusion.client.timed_call import result_of

    devices, player = _sound_devices(), Player()
    loop, spoken = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def watch(observed: Observed[Event]) -> None:
        screen.observe(observed)
        player.observe(observed)

    def captured(data: Any, frames: int, times: Any, status: Any) -> None:
        loop.call_soon_threadsafe(spoken.put_nowait, data[:, 0].tobytes())

    async with call(watch, RESUME_S) as open_call:
        with (
            devices.InputStream(
                MICROPHONE_RATE,
                int(MICROPHONE_RATE * MICROPHONE_FRAME_S),
                channels=1,
                dtype="float32",
                callback=captured,
            ),
            devices.OutputStream(SPEECH_RATE, channels=1, dtype="float32", callback=player.fill),
        ):
            print("speak; Ctrl-C ends the call (headphones keep the answer out of the microphone)")
            try:
                while not open_call.closed:
                    await open_call.call.send_audio(await spoken.get())
            except asyncio.CancelledError:  # Ctrl-C
                pass
        return [result_of(open_call.log)]


def _sound_devices() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise TalkError("the microphone needs one more package: pip install sounddevice") from None
    except OSError as error:
        raise TalkError(
            f"{error}; install PortAudio (Debian and Ubuntu: apt install libportaudio2)"
        ) from None
    return sounddevice


class Player:
    """What a loudspeaker plays.

    `fill` runs in the sound card's thread, the rest on the event loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both fields below
        self._waiting: deque[Any] = deque()
        self._paused = False

    def observe(self, observed: Observed[Event]) -> None:
        from whisperfusion.client.events import ConnectionLost, Flushed, Paused, ReplyAudio, Resumed

        with self._lock:
            match observed.event:
                case ReplyAudio():
                    self._waiting.append(observed.pcm)
                case Paused():
                    self._paused = True
                case Resumed() | ConnectionLost():
                    self._paused = False
                case Flushed():
                    self._paused = False
                    self._waiting.clear()

    def fill(self, out: Any, frames: int, times: Any, status: Any) -> None:
        """`out`: float32 [frames, 1], to be filled with what comes next, or silence."""
        out[:] = 0
        with self._lock:
            filled = 0
            while self._waiting and filled < frames and not self._paused:
                piece = self._waiting.popleft()
                taken = piece[: frames - filled]
                out[filled : filled + len(taken), 0] = taken
                filled += len(taken)
                if len(piece) > len(taken):
                    self._waiting.appendleft(piece[len(taken) :])


class Screen:
    """The conversation as text.

    In a terminal the interim transcript grows in its line; elsewhere only finished lines are
    printed.
    """

    def __init__(self, out: TextIO) -> None:
        self._out, self._live = out, out.isatty()
        self._replying = False  # a reply is on the line
        self._after: list[str] = []  # to be printed when it is complete

    def observe(self, observed: Observed[Event]) -> None:
        self.show(observed.event)

    def show(self, event: Event) -> None:
        from whisperfusion.client import events

        match event:
            case events.Transcript(text, final=False) if self._live and not self._replying:
                self._out.write(f"\r\033[K  … {text}")
            case events.UserTurn(_, text):
                self._line(f"you: {text}")
            case events.ReplyText(_, _, text, last):
                self._piece(text, last)
            case events.ReplyInterrupted(_, played):
                self._line(f"     (interrupted; played: {played or 'nothing'})")
            case events.Latency():
                self._remark(_times(event))
            case events.ConnectionLost():
                self._remark("     (the connection was lost; trying again)")
            case events.Reconnected(resumed):
                lost = "the server has forgotten what was said before"
                self._remark(f"     ({'the conversation goes on' if resumed else lost})")
            case events.Notice(text) | events.Failed(_, text):
                self._remark(f"     ({text})")
        self._out.flush()

    def _piece(self, text: str, last: bool) -> None:
        if text:
            self._out.write(f" {text}" if self._replying else f"{self._away()}bot: {text}")
            self._replying = True
        if last:
            self._end_reply()

    def _end_reply(self) -> None:
        if self._replying:
            self._out.write("\n")
            self._replying = False
        for line in self._after:
            self._line(line)
        self._after = []

    def _line(self, text: str) -> None:
        if self._replying:
            self._end_reply()
        self._out.write(f"{self._away()}{text}\n")

    def _remark(self, text: str) -> None:
        """A line that must not break a reply in two."""
        if self._replying:
            self._after.append(text)
        else:
            self._line(text)

    def _away(self) -> str:
        """What removes an interim transcript from the line."""
        return "\r\033[K" if self._live else ""


def _times(latency: Latency) -> str:
    begun = "before" if latency.reused else "at"
    return (
        f"     (after the end of speech: words {latency.words} ms, first token "
        f"{latency.first_token} ms, first sound {latency.first_sound} ms; the answer was begun "
        f"{begun} the end of the turn)"
    )


def _save(path: Path, results: list[Result]) -> None:
    from whisperfusion.wire.pcm import encode

    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SPEECH_RATE)
        for result in results:
            out.writeframes(encode(result.audio, "int16"))
