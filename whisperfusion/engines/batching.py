"""What the recognizing process asks of any engine, whether it has the ability or not: together
where the engine can, one after the other where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from whisperfusion.audio import Samples
from whisperfusion.engines.protocols import (
    ASR,
    ASROptions,
    BatchASR,
    Hypothesis,
    Job,
    LanguageDetectingASR,
    Recording,
    Segment,
    SharingASR,
    Utterance,
)
from whisperfusion.errors import EngineError


def create_utterances(asr: ASR, options: ASROptions) -> tuple[Utterance, Utterance]:
    """For the interim passes over an utterance, and for the final ones."""
    if isinstance(asr, SharingASR):
        return asr.create_utterances(options)
    return asr.create_utterance(options), asr.create_utterance(options)


def decode_batch(asr: ASR, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
    """What `accept_audio` of each utterance returns or raises."""
    if isinstance(asr, BatchASR):
        return asr.decode_batch(jobs)
    return [decoded(*job) for job in jobs]


def transcribe_batch(
    asr: ASR,
    recordings: Sequence[Recording],
    wanted: Callable[[int], bool] = lambda at: True,
) -> Iterator[tuple[int, Segment]]:
    """The segments of whole recordings, with the index of theirs. EngineError ends them all.

    Reading of a recording stops when it is not `wanted(index)` any more.
    """
    if isinstance(asr, BatchASR):
        yield from asr.transcribe_batch(recordings, wanted)
        return
    for at, (pcm, options) in enumerate(recordings):
        for segment in asr.transcribe(pcm, options) if wanted(at) else ():
            yield at, segment
            if not wanted(at):
                break


def detect_language(asr: ASR, pcm: Samples) -> tuple[str, float]:
    """ISO code and probability of the language that is spoken in `pcm`; ("en", 1.0) of a
    recognizer that knows no other. Raises EngineError.
    """
    if isinstance(asr, LanguageDetectingASR):
        return asr.detect_language(pcm)
    found = asr.create_utterance(ASROptions()).accept_audio(pcm)
    if found.language_assumed:
        raise EngineError("the recognizer could not tell the language")
    return found.language or "en", found.language_probability


def decoded(utterance: Utterance, pcm: Samples, final: bool) -> Hypothesis | Exception:
    """What `accept_audio` returns or raises."""
    try:
        return utterance.accept_audio(pcm, final)
    except Exception as error:  # of this utterance, which the caller has to know; the others go on
        return error
