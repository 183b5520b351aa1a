"""Sounds that take no turn: listeners' words from synthetic voices, hums, coughs.

The words come from a voice and not from people or from our own answers' text, so that no recognizer has seen them and no echo
guard can take them for an echo. No such voice can say "mm-hmm" (a recognizer hears "Mom, I'm here" or "MMR"): that is hummed, two
pulses of a voice through the nose, the second one higher, with a breath between them. A cough is two or three bursts of noise with a
steep beginning and a falling end, shaped by the resonances of an open mouth; in two of three coughs the voice sounds in it too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.common import RATE, say

BACKCHANNELS = ("uh huh", "yeah", "right", "okay", "I see")
HUMS = 4
PACES = (0.9, 1.1)
LEVEL = 0.05  # root mean square of a word's loud part: a person at a microphone
MOUTH = ((650.0, 250.0, 1.0), (1500.0, 400.0, 0.7), (2600.0, 600.0, 0.5))  # resonances: Hz, width in Hz, weight
NOSE = ((250.0, 100.0, 1.0), (1000.0, 200.0, 0.08), (2200.0, 300.0, 0.04))


@dataclass(frozen=True)
class Noise:
    """`pcm` float32 [samples] at 16 kHz; `kind` is "backchannel" or "cough"."""

    kind: str
    name: str
    pcm: np.ndarray


def coughs(count: int) -> list[Noise]:
    return [Noise("cough", f"cough {seed}", cough(seed)) for seed in range(count)]


def cough(seed: int) -> np.ndarray:
    """One cough, the same for the same seed: float32 [samples] at 16 kHz, peak 0.4."""
    chance = np.random.default_rng(seed)
    voice = (0.0, 1.0, 2.0)[seed % 3]
    parts: list[np.ndarray] = []
    for number in range(2 + seed % 2):
        parts.append(_burst(chance, chance.uniform(0.12, 0.22), voice) * 0.8**number)
        parts.append(np.zeros(round(chance.uniform(0.08, 0.2) * RATE)))
    sound = np.concatenate(parts)
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


def _burst(chance: np.random.Generator, seconds: float, voice: float) -> np.ndarray:
    """5 ms to full strength, then half as loud every 30 to 50 ms over a quieter rush of air; the voice comes late and stays longer."""
    times = np.arange(round(seconds * RATE)) / RATE
    size = chance.uniform(0.9, 1.15)
    noise = _through(MOUTH, chance.standard_normal(len(times)), size)
    envelope = np.minimum(1.0, times / 0.005) * (0.5 ** (times / chance.uniform(0.03, 0.05)) + 0.1 * (1.0 - times / seconds))
    pulses = _through(MOUTH, _glottis(chance.uniform(120, 260) * (1.0 - 0.3 * times / seconds)), size)
    late = np.minimum(1.0, times / 0.04) * (1.0 - times / seconds)
    burst: np.ndarray = noise * envelope + voice * pulses * late
    return burst


def hum(seed: int) -> np.ndarray:
    """ "Mm-hmm", the same for the same seed: float32 [samples] at 16 kHz."""
    chance = np.random.default_rng(seed)
    counts = [round(chance.uniform(*span) * RATE) for span in ((0.16, 0.24), (0.05, 0.09), (0.2, 0.3))]
    steps = ((1.0, 0.95), (0.95, 1.1), (1.15, 1.3))
    pitch = chance.uniform(100, 210) * np.concatenate([np.linspace(*step, n) for step, n in zip(steps, counts, strict=True)])
    loud = np.concatenate([_swell(counts[0]), np.zeros(counts[1]), _swell(counts[2])])
    breath = np.concatenate([np.zeros(counts[0]), np.hanning(counts[1]), np.zeros(counts[2])])
    voiced = _through(NOSE, _glottis(pitch) * loud, 1.0)
    return levelled((voiced + 0.05 * _through(MOUTH, chance.standard_normal(len(loud)), 1.0) * breath).astype(np.float32))


def _swell(count: int) -> np.ndarray:
    times = np.arange(count) / RATE
    return np.minimum(1.0, times / 0.03) * np.minimum(1.0, (count / RATE - times) / 0.1)


def _glottis(pitch: np.ndarray) -> np.ndarray:
    """The flow of air through vocal folds that swing with `pitch` Hz at each sample (Rosenberg's pulse), as a change of pressure."""
    phase = np.cumsum(pitch) / RATE % 1.0
    opening, closing = 0.5 * (1.0 - np.cos(np.pi * phase / 0.4)), np.cos(np.pi * (phase - 0.4) / 0.32)
    return np.diff(np.where(phase < 0.4, opening, np.where(phase < 0.56, closing, 0.0)), prepend=0.0)


def _through(resonances: Sequence[tuple[float, float, float]], sound: np.ndarray, size: float) -> np.ndarray:
    """Peak 1. `size` scales all resonances: a smaller head has higher ones."""
    spectrum, at = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / RATE)
    gain = 0.02 + sum(weight / (1.0 + ((at - centre * size) / (width / 2)) ** 2) for centre, width, weight in resonances)
    shaped = np.fft.irfft(spectrum * gain, len(sound))
    return shaped / max(1e-9, float(np.abs(shaped).max()))


def backchannels() -> list[Noise]:
    """Each word by each voice at each pace, and hums."""
    found = [Noise("backchannel", f"mm-hmm ({seed})", hum(seed)) for seed in range(HUMS)]
    for name, voice in _voices():
        for word in BACKCHANNELS:
            for pace in PACES:
                parts = list(voice.speak(word, "", pace))
                pcm = to_microphone(np.concatenate(parts), voice.sample_rate) if parts else np.zeros(0, np.float32)
                if pcm.any():
                    found.append(Noise("backchannel", f"{word} ({name}, pace {pace})", levelled(pcm)))
    return found


def _voices() -> Sequence[tuple[str, Any]]:
    from fusion.engines import EngineError, load
    from fusion.models import ModelError, fetch, resolve
    from fusion.settings import build

    voices = [("hibari", load("tts", "hibari", model="", voice=""))]
    chosen = build({}, os.environ, {})
    try:
        model = fetch(resolve("piper-joe", "tts", chosen), chosen.cache, chosen.sources)
        voices.append(("piper", load("tts", "piper", model=str(model), voice="")))
    except (EngineError, ModelError) as error:
        say(f"  backchannels come from one voice only: {error}")
    return voices


def to_microphone(pcm: np.ndarray, rate: int) -> np.ndarray:
    """float32 [samples] at `rate` as float32 at 16 kHz, nothing above 8 kHz folded down."""
    count = round(len(pcm) * RATE / rate)
    spectrum = np.fft.rfft(pcm)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * count / len(pcm)).astype(np.float32)


def levelled(pcm: np.ndarray) -> np.ndarray:
    loud = pcm[np.abs(pcm) > 0.1 * np.abs(pcm).max()]
    return (pcm * LEVEL / np.sqrt(np.mean(np.square(loud)))).astype(np.float32)
