"""What the page does to sound: rates, noise, voices, what the network brings unevenly, and what
is kept of it.
"""

from __future__ import annotations

import asyncio
import io
import json
import re

import numpy as np
import pytest
import soundfile
from chromium import answering, bubble, opened, pitch, sounds, state, talking, type_line
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOREVER_S = 30.0
# A microphone that a test plays on: `voice(seconds)` is a loud buzz with the spectrum of a vowel,
# over a faint hiss.
MICROPHONE = """
    navigator.mediaDevices.getUserMedia = async () => {
      const context = new AudioContext();
      const target = new MediaStreamAudioDestinationNode(context);
      const hiss = new AudioBuffer({ length: context.sampleRate, sampleRate: context.sampleRate });
      hiss.copyToChannel(Float32Array.from({ length: hiss.length }, () => (Math.random() - 0.5) * 0.004), 0);
      const source = new AudioBufferSourceNode(context, { buffer: hiss, loop: true });
      source.connect(target);
      source.start();
      window.voice = (seconds) => {
        const buzz = new OscillatorNode(context, { type: "sawtooth", frequency: 140 });
        const loud = new GainNode(context, { gain: 0.3 });
        buzz.connect(loud).connect(target);
        buzz.start();
        buzz.stop(context.currentTime + seconds);
      };
      return target.stream;
    };
"""


@pytest.fixture
def microphone():
    return MICROPHONE


# --- local barge-in ----------------------------------------------------------------------------


async def log(page, what: str) -> list[dict]:
    return [line for line in await page.evaluate("whisperfusion.log") if line["what"] == what]


async def happens(page, what: str, count: int = 1) -> None:
    await page.evaluate(
        f"until(() => whisperfusion.log.filter(({{ what }}) => what === '{what}').length >= "
        f"{count})"
    )


async def heard_over_an_answer(page, server):
    call = await talking(page, server)
    await server.until(lambda: len(call.audio) > 40)  # two seconds: the noise is known
    await answering(page, call, 1, FOREVER_S)
    return call


async def test_a_voice_silences_the_answer_before_the_server_says_so(
    browser, address, server, microphone
):
    async with opened(browser, address, [microphone]) as page:
        call = await heard_over_an_answer(page, server)
        await page.evaluate("voice(3)")
        await sounds(page, "=== 0")
        assert not await log(page, "sound hold") and len(await log(page, "paused locally")) == 1
        await call.order("hold")  # the server agrees: now it decides
        await happens(page, "resumed locally")
        await sounds(page, "=== 0")
        await call.order("clear", turn=1)
        await call.event("interrupted", turn=1, heard="")
        await state(page, "interrupted")
        await happens(page, "silence")
        voice, silence = (await log(page, "voice"))[0], (await log(page, "silence"))[0]
        assert silence["at"] > voice["at"] and silence["turn"] == 1  # bench/page.py has the time


async def test_a_wrong_alarm_is_a_short_pause_and_three_are_the_last(
    browser, address, server, microphone
):
    async with opened(browser, address, [microphone]) as page:
        await heard_over_an_answer(page, server)
        for count in (1, 2, 3):
            await page.evaluate("voice(0.4)")
            await happens(page, "paused locally", count)
            await happens(page, "resumed locally", count)  # no one agreed
            await sounds(page, "> 0.1")
            await happens(page, "voice", 2 * count)  # it began and ended
        await page.evaluate("voice(0.4)")
        await happens(page, "voice", 8)
        assert len(await log(page, "paused locally")) == 3


async def test_own_silence_can_be_turned_off(browser, address, server, microphone):
    async with opened(browser, address, [microphone]) as page:
        await page.evaluate("whisperfusion.update({ hushing: false })")
        await heard_over_an_answer(page, server)
        await page.evaluate("voice(0.4)")
        await happens(page, "voice", 2)
        assert not await log(page, "paused locally") and await page.evaluate("loudness()") > 0.1


async def test_noise_is_taken_out_and_a_voice_is_left(page):
    found = await page.evaluate("""async () => {
        const [{ Spectrum }, { NoiseFloor, Suppressor }, { VoiceDetector }] =
            await Promise.all(["spectrum", "denoise", "voice"].map((name) => import(`/static/${name}.js`)));
        let seed = 1;
        const random = () => ((seed = (seed * 16807) % 2147483647) / 2147483647) * 2 - 1;
        const rate = 16000;
        const voice = (i) => i < 2 * rate ? 0 : 0.3 * Math.sin(2 * Math.PI * 140 * i / rate) + 0.2 * Math.sin(2 * Math.PI * 700 * i / rate);
        const input = Float32Array.from({ length: 4 * rate }, (_, i) => voice(i) + 0.02 * random());
        const rms = (samples, from, to) => Math.sqrt(samples.slice(from, to).reduce((sum, x) => sum + x * x, 0) / (to - from));
        const through = (change) => {
            const output = [];
            new Spectrum(change).push(input, (block) => output.push(...block));
            return output;
        };
        const same = through(() => {});
        const floor = new NoiseFloor(), suppressor = new Suppressor(), detector = new VoiceDetector();
        const began = [];
        let windows = 0;
        const clean = through((power, gains) => {
            windows += 1;
            const noise = floor.update(power);
            if (detector.window(power, noise)) began.push(windows * 256 / rate);
            suppressor.gains(power, noise, gains);
        });
        return {
            worst: Math.max(...same.slice(256).map((x, i) => Math.abs(x - input[i]))),
            noise: rms(clean, rate, 2 * rate) / rms(input, rate, 2 * rate),
            voice: rms(clean, 2.5 * rate, 3.5 * rate) / rms(input, 2.5 * rate, 3.5 * rate),
            began,
        };
    }""")
    assert found["worst"] < 1e-5  # untouched, it comes out as it went in
    assert found["noise"] < 0.35 and found["voice"] > 0.9
    assert len(found["began"]) == 1 and 2.0 < found["began"][0] < 2.2


async def test_suppression_can_be_turned_on_in_a_call(browser, address, server, microphone):
    async with opened(browser, address, [microphone]) as page:
        call = await talking(page, server)
        await server.until(lambda: len(call.audio) >= 40)
        before = np.frombuffer(b"".join(call.audio[20:]), "<i2").astype(float).std()
        await page.evaluate("whisperfusion.update({ denoise: true })")
        count = len(call.audio)
        await server.until(lambda: len(call.audio) >= count + 80)
        after = np.frombuffer(b"".join(call.audio[-20:]), "<i2").astype(float).std()
        assert before > 5 and after < 0.6 * before, (before, after)


async def test_the_resampler_keeps_tones_and_drops_what_would_fold(page):
    gain = """async ([from, to, hertz]) => {
        const { Resampler } = await import("/static/resample.js");
        const resampler = new Resampler(from, to);
        const input = Float32Array.from({ length: from }, (_, i) => Math.sin(2 * Math.PI * hertz * i / from));
        const output = [];
        for (let i = 0; i < from; i += 128) output.push(...resampler.push(input.slice(i, i + 128)));
        output.push(...resampler.flush());
        const middle = output.slice(to / 4, 3 * to / 4);
        return [output.length, Math.sqrt(2 * middle.reduce((sum, sample) => sum + sample * sample, 0) / middle.length)];
    }"""
    for source, target in (
        (48000, 16000),
        (44100, 16000),
        (24000, 44100),
        (24000, 48000),
        (16000, 16000),
    ):
        length, kept = await page.evaluate(gain, [source, target, 440])
        assert abs(length - target) <= 2 and abs(kept - 1) < 0.005, (source, target)
    for source, hertz in ((48000, 9000), (48000, 15500), (44100, 9000), (44100, 12000)):
        assert (await page.evaluate(gain, [source, 16000, hertz]))[1] < 0.001, (source, hertz)


# --- the loudspeaker ----------------------------------------------------------------------------

PLAYED = """() => {
    // A worklet's processor, driven by hand: blocks of 128 samples, orders between them.
    globalThis.sampleRate = 48000;
    globalThis.AudioWorkletProcessor = class { port = { postMessage: (report) => reports.push(report) }; };
    globalThis.registerProcessor = (name, kind) => (globalThis.kind = kind);
    globalThis.reports = [];
    return import("/static/player-worklet.js").then(() => {
        const player = new kind({ processorOptions: { rate: 24000 } });
        globalThis.order = (data) => player.port.onmessage({ data });
        globalThis.tone = (seconds, from = 0) => order({ order: "audio", pcm:
            Int16Array.from({ length: seconds * 24000 }, (_, i) => 16000 * Math.sin(2 * Math.PI * 200 * (i / 24000 + from))) });
        globalThis.play = (seconds) => {
            const output = [];
            for (let i = 0; i < seconds * 48000; i += 128) {
                const block = new Float32Array(128);
                player.process([], [[block]]);
                output.push(...block);
            }
            return output;
        };
        globalThis.steepest = (samples) => samples.reduce((most, x, i) => i === 0 ? 0 : Math.max(most, Math.abs(x - samples[i - 1])), 0);
        globalThis.loud = (samples) => samples.filter((x) => Math.abs(x) > 0.01).length / 48000;
    });
}"""
STEEPEST = 0.02  # a sine of 200 Hz at half of full scale rises by 0.013 from one sample to the next


async def test_sound_that_comes_unevenly_is_evened_out_once_that_is_known(page):
    await page.evaluate(PLAYED)
    found = await page.evaluate("""() => {
        const gaps = [];
        for (let turn = 1; turn <= 3; turn += 1) {
            order({ order: "start", turn });
            for (let piece = 0; piece < 8; piece += 1) {  // 0.1 s of sound each 0.1 s, every second one 60 ms late
                tone(0.1, piece * 0.1);
                play(piece % 2 ? 0.04 : 0.16);
            }
            order({ order: "end" });
            play(1);
            gaps.push(reports.at(-1).gaps);
        }
        return { gaps, last: reports.at(-1) };
    }""")
    assert found["gaps"][0] > 0 and found["gaps"][-1] == 0, found["gaps"]
    assert (
        found["last"]["finished"]
        and abs(found["last"]["seconds"] - 0.8) < 0.001
        and 0.04 < found["last"]["ahead"] <= 0.3
    )


async def test_a_short_answer_and_a_server_that_pauses_are_played_without_waiting_for_more(page):
    await page.evaluate(PLAYED)
    found = await page.evaluate("""() => {
        order({ order: "start", turn: 1 });
        tone(0.01);
        const waited = loud(play(0.5));  // it is less than what is kept ahead, and nothing follows
        tone(0.5);
        play(0.6);
        order({ order: "end" });
        play(0.1);
        return { waited, gaps: reports.at(-1).gaps, finished: reports.at(-1).finished };
    }""")
    # a pause of half a second is the server's own
    assert found["waited"] > 0.005 and found["finished"] and found["gaps"] == 0


async def test_no_order_makes_a_click_and_every_sample_is_counted(page):
    await page.evaluate(PLAYED)
    found = await page.evaluate("""() => {
        const output = [];
        const also = (seconds) => output.push(...play(seconds));
        order({ order: "start", turn: 1 });
        tone(1);
        also(0.2);
        order({ order: "hold" });
        also(0.1);
        order({ order: "resume" });
        also(0.1);
        order({ order: "pause", on: true });
        also(0.05);
        order({ order: "pause", on: false });
        also(0.1);
        order({ order: "start", turn: 2 });  // the next answer, while this one is heard
        tone(0.3);
        order({ order: "end" });
        also(0.1);
        order({ order: "clear" });
        also(0.1);
        const ends = reports.filter(({ finished }) => finished);
        return { steepest: steepest(output), silent: loud(output.slice(-4000)), ends };
    }""")
    assert found["steepest"] < STEEPEST and found["silent"] == 0
    (second,) = found["ends"]  # the first gave way to it
    assert second["turn"] == 2 and 0.05 < second["seconds"] < 0.11


# --- what is kept -------------------------------------------------------------------------------


async def conversation(page, server):
    """One spoken turn, with its sound, and one typed."""
    call = await talking(page, server)
    await server.until(lambda: len(call.audio) >= 40)
    await call.event("speech_started", at=0.5)
    await call.event("speech_stopped", at=1.5)
    await call.event("turn", turn=1, text="What is the time?")
    await call.event("reply", turn=1, index=0, text="It is late.", last=False)
    await call.event("reply", turn=1, index=1, text="Go to bed.", last=True)
    await answering(page, call, 1, 0.5)
    await call.order("end", turn=1)
    await state(page, "listening")
    await call.event(
        "latency",
        turn=1,
        stopped=60,
        words=210,
        decided=300,
        first_token=380,
        first_clause=420,
        first_sound=615,
        reused=True,
    )
    await call.event("interrupted", turn=1, heard="It is late.")
    await type_line(page, "Good night")
    await call.event("turn", turn=2, text="Good night")
    await expect(bubble(page, "assistant").locator(".play")).to_be_visible()
    return call


async def saved(page, kind: str) -> bytes:
    async with page.expect_download() as download:
        await page.click(f'[data-save="{kind}"]')
    path = await (await download.value).path()
    return path.read_bytes()


async def test_a_conversation_is_saved_as_text_json_subtitles_and_sound(page, server):
    await page.click("#inside-toggle")
    await page.click('[data-save="text"]')
    await expect(page.locator("#notice")).to_have_text("Nothing was said yet.")
    await conversation(page, server)
    assert (
        await saved(page, "text")
    ).decode() == "You: What is the time?\nAnswer: It is late.\nYou: Good night\n"
    lines = json.loads(await saved(page, "json"))["lines"]
    assert [(line["role"], line["text"]) for line in lines] == [
        ("user", "What is the time?"),
        ("assistant", "It is late. Go to bed."),
        ("user", "Good night"),
    ]
    assert lines[1]["heard"] == "It is late." and lines[1]["latency"]["first_sound"] == 615
    subtitles = (await saved(page, "srt")).decode().split("\n\n")
    # until the answer sounds, which is about a second later
    assert len(subtitles) == 3 and re.match(r"1\n00:00:00,000 --> 00:00:0[01],", subtitles[0])
    times = [stamp for block in subtitles for stamp in re.findall(r"\d\d:\d\d:\d\d,\d{3}", block)]
    assert times == sorted(times) and len(times) == 6
    pcm, rate = soundfile.read(io.BytesIO(await saved(page, "wav")))
    assert rate == 24_000 and pcm.shape[1] == 2
    left, right = (np.flatnonzero(np.abs(side) > 0.01) for side in pcm.T)
    # the answer is a tone of half a second
    assert len(left) and len(right) and abs(len(right) / 24_000 - 0.5) < 0.05
    assert left[0] < right[0]


async def test_a_turn_can_be_heard_again_and_nobody_is_listened_to_meanwhile(page, server):
    call = await conversation(page, server)
    sounding = asyncio.create_task(pitch(page))
    sent = asyncio.create_task(
        page.evaluate("""(async () => {
        await until(() => whisperfusion.keeper.playing);
        const before = whisperfusion.keeper.position;
        await until(() => !whisperfusion.keeper.playing);
        return whisperfusion.keeper.position - before;
    })()""")
    )
    await bubble(page, "assistant").locator(".play").click()
    assert abs(await sounding - 440) < 30
    assert await sent < 4000  # samples, of 8000 in half a second: looking takes time, too
    count = len(call.audio)
    await server.until(lambda: len(call.audio) > count + 10)  # then again


async def test_a_cough_is_no_part_of_the_next_turn(page, server):
    call = await talking(page, server)
    await server.until(lambda: len(call.audio) >= 10)
    await call.event("speech_started", at=0.1)
    await call.event("caption", text="", final=True, start=0.1, end=0.4)
    await server.until(lambda: len(call.audio) >= 80)
    await call.event("speech_started", at=3.0)
    await call.event("speech_stopped", at=3.5)
    await call.event("turn", turn=1, text="Hello")
    await expect(bubble(page, "user").locator(".play")).to_be_visible()
    assert await page.evaluate("whisperfusion.entries[0].clip.pcm.length / 16000") < 1.5


async def test_an_answer_ends_what_is_played_again(page, server):
    call = await conversation(page, server)
    await page.evaluate("whisperfusion.entries[1].clip.pcm = new Int16Array(24000 * 30)")
    await bubble(page, "assistant").locator(".play").click()
    await page.evaluate("until(() => whisperfusion.keeper.playing)")
    await answering(page, call, 2, 5.0)
    assert await page.evaluate("whisperfusion.keeper.playing") is None
    await bubble(page, "assistant").locator(".play").click()  # and the other way round
    await server.until(lambda: call.told("interrupt"))
    await page.evaluate("until(() => whisperfusion.keeper.playing)")
    await bubble(page, "assistant").locator(".play").click()
    await page.evaluate("until(() => !whisperfusion.keeper.playing)")


async def test_no_sound_is_kept_if_nobody_wants_it(browser, address, server):
    off = 'localStorage.setItem("whisperfusion-settings", \'{"keepSound": false}\')'
    async with opened(browser, address, [off]) as page:
        call = await talking(page, server)
        await call.event("turn", turn=1, text="Hello")
        await call.event("reply", turn=1, index=0, text="Hi.", last=True)
        await answering(page, call, 1, 0.3)
        await call.order("end", turn=1)
        await state(page, "listening")
        assert await page.locator(".play").count() == 0
        await page.click("#inside-toggle")
        await page.click('[data-save="wav"]')
        await expect(page.locator("#notice")).to_contain_text("No sound was kept")


# --- a look inside ------------------------------------------------------------------------------


async def test_each_turn_is_drawn_and_summed_up(page, server):
    await page.click("#inside-toggle")
    call = await talking(page, server)
    rows = page.locator("#waterfall li")
    for turn, first in ((1, 600), (2, 1400), (3, 800)):
        await call.event("speech_stopped", at=turn)
        await expect(rows.nth(turn - 1).locator(".open")).to_be_visible()  # it grows
        await call.event("turn", turn=turn, text=f"Number {turn}")
        await call.event("reply", turn=turn, index=0, text="Yes.", last=True)
        await call.event(
            "latency",
            turn=turn,
            stopped=60,
            words=200,
            decided=300,
            first_token=400,
            first_clause=500,
            first_sound=first,
            reused=turn == 1,
        )
    await expect(page.locator("#inside-summary")).to_have_text(
        "3 turns · first sound after 0.80 s (median) · 1 generated ahead"
    )
    await expect(rows.nth(1).locator(".track")).to_have_attribute(
        "aria-label", re.compile("first sound after 1.40 s")
    )
    widths = [
        await rows.nth(1).locator(f".track .{step}").evaluate("node => node.style.width")
        for step in ("words", "first_sound")
    ]
    # ms, on a scale of 1500
    assert [round(float(width[:-1]) * 15) for width in widths] == [140, 900]
    await call.event("speech_stopped", at=9)
    await expect(rows).to_have_count(4)
    await call.event("caption", text="", final=True, start=8, end=9)  # it was a cough
    await expect(rows).to_have_count(3)
