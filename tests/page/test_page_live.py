"""The page before the whole server with real models: human recordings go in, words and a voice
come out.
"""

from __future__ import annotations

import base64
import io
import subprocess
from difflib import SequenceMatcher

import numpy as np
import pytest
import soundfile
from chromium import MICROPHONE, browser_with, bubble, opened, state, type_line
from playwright.async_api import expect

from whisperfusion.engines import ASROptions
from whisperfusion.text.segmentation import words

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

PATIENCE_MS = 40_000
# captions form; they may be gone before playwright looks, so the page watches from the start
WATCH = """() => {
    window.captions = until(() => document.querySelector('.bubble[data-role=user] .word'))
        .then(() => true);
}"""
LONG = "Tell me in five long sentences what a river is."


def wav(sound: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, format="WAV")
    return base64.b64encode(file.getvalue()).decode()


def asks(text: str, wanted: str) -> bool:
    return SequenceMatcher(None, words(text), words(wanted)).ratio() > 0.6


async def log(page, what: str) -> list[dict]:
    return [line for line in await page.evaluate("whisperfusion.log") if line["what"] == what]


async def test_a_recording_is_heard_and_answered_in_a_voice_that_says_the_answer(
    pipeline, recordings, whisper, tmp_path
):
    """Through Chromium's own microphone, which plays a file.

    What is played is recorded, and recognized again.
    """
    line = recordings["riva-nlp.flac"]  # long enough for captions on a machine that is busy
    file = tmp_path / "microphone.wav"
    convert = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(line["path"]),
        "-af",
        "adelay=2500,apad=pad_dur=30",
        "-ar",
        "48000",
        str(file),
    ]
    subprocess.run(convert, check=True)
    async with browser_with(f"--use-file-for-fake-audio-capture={file}%noloop") as browser:
        async with opened(browser, pipeline.http_url) as page:
            await page.evaluate(WATCH)
            await page.click("#talk")
            await state(page, "listening")
            await page.evaluate("until(() => window.tap).then(capture)")
            question, answer = bubble(page, "user").first, bubble(page, "assistant").first
            await expect(question).to_have_attribute("data-state", "final", timeout=PATIENCE_MS)
            assert await page.evaluate("captions")
            assert asks(await question.locator(".text").text_content(), line["text"])
            await expect(answer.locator(".latency")).to_be_visible(timeout=PATIENCE_MS)
            await page.evaluate(
                "until(() => whisperfusion.log.some(({ what }) => what === 'silence'))"
            )
            await expect(answer.locator(".play")).to_be_visible(timeout=PATIENCE_MS)
            said = await answer.locator(".text").text_content()
            rate = await page.evaluate("tap.context.sampleRate")
            chunks = await page.evaluate(
                "captured.map((chunk) => Array.from(chunk, (sample) => Math.round(sample * 32767)))"
            )
    played = np.concatenate(chunks).astype(np.float32) / 32768
    at = np.arange(0, len(played), rate / 16_000)
    pcm = np.interp(at, np.arange(len(played)), played).astype(np.float32)
    back = whisper.create_utterance(ASROptions(language="en")).accept_audio(pcm).text
    assert (
        len(words(said)) >= 3 and SequenceMatcher(None, words(back), words(said)).ratio() > 0.6
    ), (back, said)


async def test_a_second_recording_over_the_answer_stops_it(pipeline, recordings, sound):
    async with browser_with() as browser, opened(browser, pipeline.http_url, [MICROPHONE]) as page:
        await page.click("#talk")
        await state(page, "listening")
        await type_line(page, LONG)
        await state(page, "speaking")
        answer = bubble(page, "assistant").first
        # what begins with the answer may be its echo, and waits for more than the words
        await page.wait_for_timeout(1_500)
        await page.evaluate("speak", wav(sound("gcp-brooklyn.flac")))
        await expect(bubble(page, "user").nth(1)).to_have_attribute(
            "data-state", "final", timeout=PATIENCE_MS
        )
        await page.evaluate(
            "until(() => whisperfusion.log.some(({ what }) => what === 'interrupted'))"
        )
        told = await page.evaluate("whisperfusion.log")
        order = [one["what"] for one in told if one["what"] in ("voice", "silence", "interrupted")]
        # the sound stopped before the words were known (bench/page.py has the times); an answer
        # may also run dry on a busy machine before the user speaks
        assert "silence" in order[: order.index("interrupted")], order
        await expect(answer.locator("s")).to_be_visible()  # not all of it was heard
        assert asks(
            await bubble(page, "user").nth(1).locator(".text").text_content(),
            recordings["gcp-brooklyn.flac"]["text"],
        )
        # the second question has its answer
        await expect(bubble(page, "assistant")).to_have_count(2, timeout=PATIENCE_MS)
        await page.click("#talk")


async def test_the_conversation_survives_a_network_that_drops(pipeline):
    """Chromium goes off line; what was said is known to the server afterwards."""
    async with browser_with() as browser, opened(browser, pipeline.http_url) as page:
        await type_line(page, "My name is Ada. Say hello to me.")
        await expect(bubble(page, "assistant").first.locator(".latency")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await state(page, "ready")
        # as a dead network looks from here
        await page.evaluate("whisperfusion.call.line.asr.close()")
        await state(page, "reconnecting")
        await state(page, "ready")
        await type_line(page, "What is my name?")
        await expect(bubble(page, "assistant").nth(1)).to_contain_text("Ada", timeout=PATIENCE_MS)
