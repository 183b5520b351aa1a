"""The errors that this project raises on purpose, each named by what it ends.

    WhisperFusionError
    ├─ SettingsError     the start: a setting has a value that cannot be used
    ├─ ModelError        the start, or the turn that needed it: a model cannot be had
    │  └─ SourceError    one source of it; the next one is asked
    ├─ EngineError       one job: a turn, a file, a text
    │  ├─ Refused        the same, and no fault of the engine: the job is too large for it, or it
    │  │                 has no room in time
    │  │  └─ GaveWay     one interim transcript: a final one goes first
    │  └─ Unsayable      one piece of speech: the voice cannot say this text, and can say others
    ├─ EngineLost        the process: only a new one gets the engine back
    ├─ WireError         a connection: what the client sent cannot be understood
    │  └─ Broken         a connection of the Wyoming protocol
    ├─ FrameError        one frame; the connection goes on
    ├─ FieldError        one field of a frame or a request; never leaves `wire`
    ├─ ApiError          one HTTP request
    ├─ Undecodable       one uploaded file: it is not sound that can be read
    ├─ RealtimeError     one client event of the Realtime API; the session goes on
    ├─ TooMany           one request or connection: a limit was reached
    ├─ BadRecording      one replay: the file is not a recording of a call
    └─ CallError         one call of our own client

Those that have no class here are defined beside what raises them. Any other exception is a
library's or a bug's: it ends the job that raised it (whisperfusion/runtime/worker.py), or the
connection.
"""

from __future__ import annotations


class WhisperFusionError(Exception):
    """Its text is for a person: what was given, what is allowed, what to do."""


class SettingsError(WhisperFusionError):
    """A setting has a value that cannot be used; the text names the setting and what is allowed."""


class ModelError(WhisperFusionError):
    """A model cannot be had; the text says why and what to do."""


class EngineError(WhisperFusionError):
    """Ends a turn. Its text is shown to a person."""


class Refused(EngineError):
    """A sound engine does not take this job: it is too large for it, or others keep it busy for
    too long.
    """


class GaveWay(Refused):
    """An interim transcript was given up for a final one; the next one has its audio too."""


class Unsayable(EngineError):
    """A voice cannot say this text: its library fails on it, or it is in a script that the voice
    has no sounds for.
    """


class EngineLost(WhisperFusionError, RuntimeError):
    """The engine will fail for every later job of this process; a new process gets it back."""


class WireError(WhisperFusionError):
    """Ends a connection.

    `message` is for the person at the other end; `uid` is theirs where it could be read.
    """

    def __init__(self, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.uid = uid


class FrameError(WhisperFusionError):
    """A frame is refused and the connection goes on.

    `id` is the request's own, where it had one.
    """

    def __init__(self, code: str, message: str, id: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


# How libraries tell of the errors of CUDA, which go on until the process ends. ggml is not among
# them: it writes "CUDA error: …" to the log and aborts the process itself.
DEVICE_ERRORS = (
    "cuda error",  # torch
    "cuda driver error",  # torch
    "cuda runtime error",  # TensorRT-LLM
    "cuda runtime (",  # TensorRT
    "cuda driver (",  # TensorRT
    "cuda failed with error",  # CTranslate2
    "cuda failure",  # ONNX Runtime
    "cublas_status_",  # all of them, each with words of its own before it
    "cudnn_status_",
    "illegal memory access",
    "unspecified launch failure",
    "device-side assert",
)
# In such a text: one job was too large, or is not for this device, and others can succeed.
OUT_OF_MEMORY = ("out of memory", "outofmemory", "status_alloc_failed")
NOT_SUPPORTED = ("status_not_supported",)


def _tells(error: object, signs: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in signs)


def gpu_is_lost(error: object) -> bool:
    """Whether `error` (an exception, or the text of one) says that the GPU is lost to this
    process.
    """
    return _tells(error, DEVICE_ERRORS) and not _tells(error, OUT_OF_MEMORY + NOT_SUPPORTED)


def gpu_is_full(error: object) -> bool:
    """Whether `error` says that the GPU had no memory for this job."""
    return _tells(error, OUT_OF_MEMORY) and _tells(error, ("cuda", "cublas", "cudnn", "gpu"))


def failed_on_input(error: BaseException, engine: str = "") -> EngineError:
    """What the caller of a job gets for an exception of a library; `engine` is its name."""
    if gpu_is_full(error):
        return EngineError(
            f"the GPU has no memory left for this ({first_line(error)}); try again in a moment. If "
            "it stays so, a smaller model or fewer callers at once need less"
        )
    named = f"the engine ({engine})" if engine else "the engine"
    return EngineError(f"{named} failed on this input: {first_line(error)}")


def lost_for_good(error: BaseException) -> str | None:
    """Why no later job of this process can succeed after `error`; None when others can."""
    if isinstance(error, EngineLost):
        return "the engine is lost"
    if isinstance(error, MemoryError):
        return "the process is out of memory"
    if not isinstance(error, EngineError) and gpu_is_lost(error):
        return "the GPU is lost to this process"
    return None


def without_words(error: EngineError) -> str:
    """Its text for a log. What a voice says of a text that it cannot say quotes the text, which is
    a caller's.
    """
    return "the voice cannot say its text" if isinstance(error, Unsayable) else str(error)


def first_line(error: BaseException, most: int = 200) -> str:
    """Type and first line of an exception of a library, for a person."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:most]}" if lines else type(error).__name__
