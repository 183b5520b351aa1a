"""What the page costs and gains: bytes and time to load, how soon it falls silent by itself, what
its noise suppression does to words.

    python bench/page.py                    # all parts
    python bench/page.py --only load,barge-in

The real page in Chromium before the real server with default models. bench/README.md has the
method.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chromium import MICROPHONE, browser_with, opened, state, type_line  # noqa: E402

from bench import common  # noqa: E402
from bench.accuracy import caption, word_errors  # noqa: E402
from bench.common import Server, say, server, utterances  # noqa: E402
from bench.interfaces import wav  # noqa: E402
from whisperfusion.audio import MICROPHONE_RATE, Samples  # noqa: E402

Signal = NDArray[np.float64]

PARTS = ("load", "barge-in", "noise")
VISITS, TIMES = 7, 8
LONG = "Tell me in six long sentences what a river is."
SNR_DB = 5.0
EVERY = 5  # of the recordings with noise
SETTINGS = (
    'localStorage.setItem("whisperfusion-settings", JSON.stringify({ cues: false, hushing: '
    "HUSHING }))"
)
CLEAN = """async (samples) => {
    const { Spectrum } = await import("/static/spectrum.js");
    const { HighPass, NoiseFloor, Suppressor } = await import("/static/denoise.js");
    const highPass = new HighPass(), floor = new NoiseFloor(), suppressor = new Suppressor();
    const output = [];
    const spectrum = new Spectrum(
        (power, gains) => suppressor.gains(power, floor.update(power), gains));
    spectrum.push(
        samples.map((sample) => highPass.next(sample / 32768)),
        (block) => output.push(...block));
    return output.map((sample) => Math.round(sample * 32768));
}"""


async def load(running: Server) -> dict[str, Any]:
    """A first visit, with nothing kept: until the page takes clicks."""
    ms, sizes = [], []
    async with browser_with() as browser:
        for _ in range(VISITS):
            context = await browser.new_context()
            page = await context.new_page()
            loaded: list[Any] = []
            page.on("response", lambda response, loaded=loaded: loaded.append(response))
            await page.goto(running.http_url)
            await page.wait_for_selector("body[data-loaded]")
            ms.append(
                await page.evaluate("performance.getEntriesByName('interactive')[0].startTime")
            )
            await page.click("#talk")
            await state(page, "listening")
            sizes.append(sum([len(await response.body()) for response in loaded]))
            await context.close()
    return {
        "interactive_ms": statistics.median(ms),
        "longest_ms": max(ms),
        "bytes": sizes[-1],
        "visits": VISITS,
    }


async def barge_in(running: Server) -> dict[str, Any]:
    """From the first sound of a user who speaks over a reply to the last of the answer, with
    the page's own ear and without.
    """
    result: dict[str, Any] = {}
    for name, own in (("own", True), ("server", False)):
        found = [await _interrupted(running, own, number) for number in range(TIMES)]
        heard = [ms for ms in found if ms is not None]
        result[name] = {
            "median_ms": statistics.median(heard),
            "longest_ms": max(heard),
            "n": len(heard),
        }
        say(f"  {name}: {result[name]}")
    return result


async def _interrupted(running: Server, own: bool, number: int) -> float | None:
    speakers = utterances()
    recording = speakers[number % len(speakers)]
    onset = int(np.flatnonzero(np.abs(recording.pcm) > 0.02)[0]) / MICROPHONE_RATE
    async with browser_with() as browser:
        settings = SETTINGS.replace("HUSHING", json.dumps(own))
        async with opened(browser, running.http_url, [settings, MICROPHONE]) as page:
            await page.click("#talk")
            await state(page, "listening")
            await type_line(page, LONG)
            await state(page, "speaking")
            await page.wait_for_timeout(1500)
            await page.evaluate(
                "(wav) => (whisperfusion.note('began'), speak(wav))", wav_base64(recording.pcm)
            )
            log = await page.evaluate("whisperfusion.log")
    began = next(line["at"] for line in log if line["what"] == "began") + onset * 1000
    return next(
        (line["at"] - began for line in log if line["what"] == "silence" and line["at"] > began),
        None,
    )


def wav_base64(pcm: Samples) -> str:
    return base64.b64encode(wav(pcm)).decode()


async def noise(running: Server) -> dict[str, Any]:
    """Word error rates of recordings in noise, as they are and after the page's suppression; and
    of clean ones.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    kinds = {"hiss": _hiss, "rumble and hum": _rumble}
    async with browser_with() as browser, opened(browser, running.http_url) as page:
        for number, recording in enumerate(common.recordings()[::EVERY]):
            rng = np.random.default_rng(number)
            lead = np.zeros(
                MICROPHONE_RATE, np.float32
            )  # a second in which the noise can be learnt
            quiet = np.concatenate((lead, recording.pcm))
            sounds = {"no noise": quiet}
            for kind, make in kinds.items():
                added = make(len(quiet), rng)
                sounds[kind] = quiet + added * np.std(recording.pcm) / np.std(added) / 10 ** (
                    SNR_DB / 20
                )
            for kind, pcm in sounds.items():
                pcm = np.clip(pcm, -1, 1)
                samples = [int(sample) for sample in pcm * 32767]
                clean = np.array(await page.evaluate(CLEAN, samples), np.float32) / 32768
                for how, heard in ((kind, pcm), (f"{kind}, suppressed", clean)):
                    pairs.setdefault(how, []).append(
                        (recording.text, await caption(running.asr_url, heard.astype(np.float32)))
                    )
    return {
        how: {key: value for key, value in word_errors(each).items() if key != "wrong"}
        for how, each in pairs.items()
    }


def _hiss(length: int, rng: np.random.Generator) -> Signal:
    return rng.standard_normal(length)


def _rumble(length: int, rng: np.random.Generator) -> Signal:
    """A street behind a window: noise that falls by 6 dB an octave, and the hum of mains with
    two overtones.
    """
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / MICROPHONE_RATE)
    brown = np.fft.irfft(spectrum / np.maximum(hertz, 20.0), length)
    seconds = np.arange(length) / MICROPHONE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * seconds) / k for k in (1, 2, 3))
    street: Signal = brown / brown.std() + 0.5 * hum
    return street


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(PARTS),
        help=f"of {','.join(PARTS)} [all]",
    )
    chosen = parser.parse_args(arguments)
    measures = {"load": load, "barge-in": barge_in, "noise": noise}
    result: dict[str, Any] = {"machine": common.machine(), "version": common.version(ROOT)}
    for part in PARTS:
        if part in chosen.only:
            say(part)
            with server(ROOT) as running:
                result[part] = asyncio.run(measures[part](running))
            say(f"  {result[part]}")
    path = common.OUT / f"page-{time.strftime('%Y%m%d-%H%M%S')}.json"
    common.write(path, result)
    print(f"\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
