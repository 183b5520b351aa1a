"""Chromium with a fake microphone, the page loaded in it, and the few things that every test of the
page does.

What leaves the page for the loudspeaker is measured by an analyser that is put beside it before the
page loads; Chromium's own fake microphone beeps, so nothing here needs a sound card.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager

from fake_sockets import PATIENCE_S
from playwright.async_api import async_playwright, expect

FLAGS = (
    "--no-sandbox --headless=new --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream "
    "--autoplay-policy=user-gesture-required"
).split()
# a name that is not localhost: an insecure page, as on a phone without https
ELSEWHERE = "phone.test"
TAP = """
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (target, ...rest) {
      if (target instanceof AudioDestinationNode) {
        window.tap ??= new AnalyserNode(target.context, { fftSize: 2048, smoothingTimeConstant: 0 });
        connect.call(this, window.tap);
      }
      return connect.call(this, target, ...rest);
    };
    window.loudness = () => {
      const samples = new Float32Array(2048);
      window.tap?.getFloatTimeDomainData(samples);
      return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    };
    window.capture = () => {  // all that leaves from now on
      window.captured = [];
      const recorder = window.tap.context.createScriptProcessor(4096, 1, 1);
      recorder.onaudioprocess = ({ inputBuffer }) => window.captured.push(inputBuffer.getChannelData(0).slice());
      connect.call(window.tap, recorder);
      connect.call(recorder, window.tap.context.destination);
    };
    window.until = (fact) => new Promise((resolve, reject) => {
      const end = performance.now() + 40_000;
      const look = () => fact() ? resolve() : performance.now() > end ? reject(new Error(`never: ${fact}`)) : setTimeout(look, 10);
      look();
    });
    window.pitch = () => {
      const bins = new Float32Array(1024);
      window.tap.getFloatFrequencyData(bins);
      return bins.indexOf(Math.max(...bins)) * window.tap.context.sampleRate / 2048;
    };
"""
# A microphone that a test speaks into: `speak(wav)`, with the file as base64, resolves when it was
# said. Silence otherwise.
MICROPHONE = """
    navigator.mediaDevices.getUserMedia = async () => {
      const context = new AudioContext();
      const target = new MediaStreamAudioDestinationNode(context);
      window.speak = async (base64) => {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.buffer) });
        source.connect(target);
        await new Promise((resolve) => {
          source.onended = resolve;
          source.start();
        });
      };
      return target.stream;
    };
"""


# The headless shell is the same engine without the user interface of the browser, whose drawing
# takes as much processor time as all the rest of these tests.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert path, (
        "these tests need Chromium: install the Debian package chromium-headless-shell or chromium, "
        "or Google Chrome"
    )
    return path


@asynccontextmanager
async def browser_with(*flags: str):
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=chromium(), args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(browser, address, scripts=(), allowed=(), **options):
    """A loaded page; whatever it complained about to the console fails the test, unless it has a
    text of `allowed`.
    """
    context = await browser.new_context(**({"viewport": {"width": 1200, "height": 800}} | options))
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    for script in (TAP, *scripts):
        await page.add_init_script(script)
    await page.goto(address)
    await page.wait_for_selector("body[data-loaded]")
    try:
        yield page
        # a test may end connections
        expected = ("WebSocket connection", *allowed)
        unexpected = [text for text in complaints if not any(one in text for one in expected)]
        assert not unexpected, unexpected
    finally:
        await context.close()


async def state(page, name: str) -> None:
    await expect(page.locator("body")).to_have_attribute(
        "data-state", name, timeout=PATIENCE_S * 1000
    )


async def sounds(page, condition: str, patience_s: float = PATIENCE_S) -> None:
    """Waits inside the page: the page's own policy forbids the evaluation that playwright's
    waiting needs.
    """
    await asyncio.wait_for(page.evaluate(f"until(() => loudness() {condition})"), patience_s)


def bubble(page, role: str):
    return page.locator(f'.bubble[data-role="{role}"]')


async def talking(page, server):
    await page.click("#talk")
    await state(page, "listening")
    return await server.call()


async def type_line(page, text: str) -> None:
    await page.fill("#line", text)
    await page.press("#line", "Enter")


async def pitch(page) -> float:
    """Hertz of the next loud sound."""
    return await asyncio.wait_for(
        page.evaluate("until(() => loudness() > 0.2).then(pitch)"), PATIENCE_S
    )


async def answering(page, call, turn: int, seconds: float, hertz: float = 440.0) -> None:
    """An answer begins to be heard, as it shall sound."""
    sounding = asyncio.create_task(pitch(page))  # it may be short
    await call.order("start", turn=turn)
    await call.sound(hertz, seconds)
    await state(page, "speaking")
    assert abs(await sounding - hertz) < 30
