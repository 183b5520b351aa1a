"""Custom voices: what is stored, what is checked, whose they are, and that they speak.

The servers are the real processes with scripted engines: the voice that is cloned is as loud as its
sample, and speakers differ by loudness.
"""

from __future__ import annotations

import io
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest
import soundfile
from chromium import browser_with, opened
from fake_sockets import PATIENCE_S, READY, serving
from playwright.async_api import expect
from running import ROOT
from test_rest import words_in

from whisperfusion.custom_voices import Consent, CustomVoice, Full, Usable, store, voices_of
from whisperfusion.custom_voices.checks import problems
from whisperfusion.engines import load
from whisperfusion.engines.scripted import ScriptedTTS, tone_speech
from whisperfusion.errors import EngineError
from whisperfusion.settings import Settings
from whisperfusion.speakers.sample_quality import quality_of
from whisperfusion.synthesis.language_voices import Choice, LanguageVoices
from whisperfusion.synthesis.voice import Voice
from whisperfusion.synthesis.voices import Voices
from whisperfusion.wire.asr_events import SampleQuality
from whisperfusion.wire.voices import UnknownVoice, voice_named

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RATE = 16_000
PAUSE = np.zeros(RATE // 2, np.float32)
TEXT = " ".join(["alpha beta gamma delta"] * 4)  # 3.5 s
LEVEL = 0.2
CONSENT = {"consent": "I agree that my voice is copied here.", "consent_by": "Ann Example"}
FAR = {"X-Forwarded-For": "192.0.2.7"}  # a client on another machine, by a trusted proxy


def file_of(pcm: np.ndarray, kind: str = "WAV", **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, RATE, format=kind, **options)
    return file.getvalue()


def said(*levels: float, noise: float = 0.0) -> np.ndarray:
    parts = [part for level in levels for part in (tone_speech(TEXT, level=level), PAUSE)]
    pcm = np.concatenate([PAUSE, *parts])
    return pcm + np.random.default_rng(1).normal(0, noise, len(pcm)).astype(np.float32)


SAMPLE = file_of(said(LEVEL, LEVEL))


def entry(folder: store.Folder, owner: str = "", **fields: Any) -> CustomVoice:
    consent = Consent("Ann", 1, "yes")
    return CustomVoice(
        **{
            "id": folder.new_id(),
            "name": "Ann",
            "created": 1,
            "owner": owner,
            "consent": consent,
            **fields,
        }
    )


def settings_of(folder: Path, **fields: Any) -> Settings:
    return Settings(model_cache_dir=str(folder), **fields)


# --- what is stored -----------------------------------------------------------------------------


def test_what_is_stored_is_read_by_others_and_deleted_for_good(tmp_path, monkeypatch):
    settings = settings_of(tmp_path)
    folder, other = voices_of(settings), voices_of(settings)
    first, second = entry(folder, created=2, name="Ünal \u202a"), entry(folder, speakers=1)
    for one in (first, second):
        folder.add(one, b"RIFF")
    assert other.all() == (second, first) and other.get(first.id) == first
    sample = other.sample(first.id)
    assert sample is not None and sample.read_bytes() == b"RIFF"
    for file in sample.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert folder.delete(first.id) and not folder.delete(first.id)
    assert other.all() == (second,) and other.sample(first.id) is None
    assert {file.name for file in sample.parent.iterdir()} == {
        f"{second.id}.json",
        f"{second.id}.wav",
    }
    (sample.parent / f"{second.id}.json").write_text("{}")
    assert other.get(second.id) is None  # a broken entry is none, and breaks no list
    for odd in ("../x", "voice_", f"{second.id}/..", "voice_" + "0" * 23 + "/"):
        assert other.get(odd) is None and other.sample(odd) is None and not other.delete(odd)


def test_there_are_limits_and_what_a_dead_process_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST", 2)
    monkeypatch.setattr(store, "MOST_BYTES", 10)
    folder = voices_of(settings_of(tmp_path))
    folder.add(entry(folder, "a"), b"four")
    left = tmp_path / "state" / "voices" / f"{folder.new_id()}.wav"
    left.write_bytes(b"1")
    os.utime(left, (time.time() - 2 * store.LEFT_S,) * 2)
    folder.add(entry(folder, "a"), b"four")
    assert not left.exists()
    with pytest.raises(Full, match="2 are stored already"):
        folder.add(entry(folder, "a"), b"")
    with pytest.raises(Full, match="delete some"):
        folder.add(entry(folder, "b"), b"three")
    assert len(folder.all()) == 2


def test_a_voice_is_usable_with_its_key_and_where_the_engine_clones(tmp_path):
    settings = settings_of(tmp_path, shared_secret="one-key,other-key")
    folder, usable = voices_of(settings), Usable(settings)
    from whisperfusion.sessions import owner_of

    own, free = entry(folder, owner_of(settings, 0)), entry(folder)
    for one in (own, free):
        folder.add(one, b"")
    assert set(usable.of(True, 0)) == {own.id, free.id} == set(usable.all(True))
    assert usable.of(True, 1) == (free.id,) and usable.of(False, 0) == usable.all(False) == ()


# --- what is checked ----------------------------------------------------------------------------

GOOD = SampleQuality(10.0, -20.0, -60.0, 0.0, 1)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"noise_db": None, "speakers": None}, ""),
        ({"speech": 0.0}, "no speech was found"),
        ({"speech": 3.0}, "3.0 s of speech; at least 5 s"),
        ({"clipped": 0.01}, "it is clipped"),
        ({"level_db": -50.0, "noise_db": -90.0}, "too quiet"),
        ({"noise_db": -30.0}, "noisy (the speech is 10 dB over the pauses"),
        ({"speakers": 2}, "2 people speak in it"),
        ({"speakers": 2, "clipped": 0.01}, "clipped"),
    ],
)
def test_what_is_wrong_with_a_sample_is_said(changed, says):
    found = list(problems(replace(GOOD, **changed)))
    assert says in "; ".join(found) and bool(found) == bool(says)


def test_level_noise_and_clipping_are_measured():
    noise = np.random.default_rng(0).normal(0, 0.001, 3 * RATE).astype(np.float32)
    pcm = noise.copy()
    wave = np.sin(np.arange(RATE) / 5).astype(np.float32)
    pcm[RATE : 2 * RATE] += 0.1 * wave
    found = quality_of(pcm, [(1.0, 2.0)])
    assert (found.speech_s, found.clipped) == (1.0, 0.0)
    assert found.level_db == pytest.approx(-23.0, abs=0.1)
    assert found.noise_db == pytest.approx(-60.0, abs=0.3)
    pcm[RATE : 2 * RATE] = np.clip(2 * wave, -1, 1)
    assert quality_of(pcm, [(1.0, 2.0)]).clipped > 0.5
    assert quality_of(pcm[RATE : 2 * RATE], [(0.0, 1.0)]).noise_db is None
    nothing = quality_of(np.zeros(10, np.float32), [])
    assert (nothing.speech_s, nothing.level_db) == (0.0, -100.0)


# --- the speaking process -----------------------------------------------------------------------


class Plain:
    """A voice that cannot clone."""

    model, device, sample_rate, language = "plain", "cpu", 24_000, None
    voices = ("one", "two")

    def synthesize(self, text, voice=None, speed=1.0) -> Iterator[np.ndarray]:
        assert voice in self.voices
        yield np.zeros(240, np.float32)


class Polyglot(Plain):
    """Clones in two languages, by the mark behind a name."""

    clones, language = True, "en"
    voices = ("one", "one@es")
    voice_languages = {"one": "en", "one@es": "es"}

    def synthesize(self, text, voice=None, speed=1.0) -> Iterator[np.ndarray]:
        self.asked = voice
        yield np.ones(240, np.float32)


def loudest(pieces: Iterator[np.ndarray]) -> float:
    return float(max(np.abs(pcm).max(initial=0) for pcm in pieces))


def test_a_custom_voice_speaks_until_it_is_deleted(tmp_path):
    settings = settings_of(tmp_path)
    folder = voices_of(settings)
    made = entry(folder)
    folder.add(made, SAMPLE)
    voice = Voice(ScriptedTTS(), sample=folder.sample)
    assert loudest(voice.synthesize("alpha", made.id)) == pytest.approx(LEVEL, abs=0.01)
    assert voice.named(None) == "tone" and voice.named("/etc/passwd") == "tone"
    default = Voice(ScriptedTTS(), sample=folder.sample, default=made.id)
    assert default.names == (made.id, "tone", "soft")
    assert loudest(default.synthesize("alpha")) == pytest.approx(LEVEL, abs=0.01)
    assert default.named("donald") == made.id and default.named("soft") == "soft"
    plain = Voice(Plain(), sample=folder.sample)
    assert not plain.clones and plain.named(made.id) == "one"
    folder.delete(made.id)
    for one in (voice, default):
        assert loudest(one.synthesize("alpha", made.id)) == pytest.approx(0.3, abs=0.01)


def test_tts_voice_may_be_a_custom_voice_of_an_engine_that_clones(tmp_path):
    folder = voices_of(settings_of(tmp_path))
    made = entry(folder)
    folder.add(made, SAMPLE)
    scripted = {"tts_engine": "scripted", "model_cache_dir": str(tmp_path)}
    settings = Settings(tts_voice=made.id, **scripted)
    voices = Voices(settings, lambda notice: None)
    assert voices.names[0] == made.id and voices.clone
    assert loudest(voices.active.synthesize("alpha")) == pytest.approx(LEVEL, abs=0.01)
    languages = LanguageVoices(settings, voices)
    assert languages.names == voices.names
    assert languages.choose("es", made.id) == Choice(None, made.id)
    voices.chosen = Voice(Polyglot(), sample=folder.sample)
    assert languages.choose("es", made.id) == Choice(None, f"{made.id}@es")
    assert languages.choose("en", made.id) == Choice(None, made.id)
    assert voices.active.language_of(f"{made.id}@es") == "es"
    (asked,) = (voice for voice in voices.active.synthesize("hola", f"{made.id}@es"))
    assert asked.size and voices.active.engine.asked == f"{folder.sample(made.id)}@es"
    with pytest.raises(EngineError, match="is not stored here"):
        Voices(Settings(tts_voice=folder.new_id(), **scripted), lambda notice: None)
    with pytest.raises(EngineError, match="hibari cannot clone voices; TTS_ENGINE can be "):
        Voices(
            Settings(tts_voice=made.id, tts_engine="hibari", model_cache_dir=str(tmp_path)),
            lambda notice: None,
        )


def test_no_list_of_voices_tells_the_id_of_a_custom_one(tmp_path):
    id = voices_of(settings_of(tmp_path)).new_id()
    assert voice_named(id, ("tone", id)) == id
    with pytest.raises(UnknownVoice) as unknown:
        voice_named("donald", ("tone", id))
    assert "tone" in str(unknown.value) and id not in str(unknown.value)
    with pytest.raises(UnknownVoice, match="not stored here for your key, or the engine"):
        voice_named(id, ("tone",))


# --- the routes ---------------------------------------------------------------------------------


@asynccontextmanager
async def client_of(
    folder: Path, server: Any, clones: bool = True, key: str = "", **fields: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Of a gateway with a folder of its own, before the sockets of the scripted server."""
    settings = settings_of(
        folder,
        http_port=0,
        asr_port=server.asr_port,
        tts_port=server.tts_port,
        trusted_proxies="127.0.0.1",
        **fields,
    )
    tts = replace(READY["tts"], voices=("tone", "soft"), clones=clones)
    async with serving(settings, {**READY, "tts": tts}) as address:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient(
            base_url=address, headers=headers, timeout=PATIENCE_S
        ) as client:
            yield client


async def create(client: httpx.AsyncClient, sample: bytes = SAMPLE, **fields: str) -> Any:
    return await client.post(
        "/v1/audio/voices",
        data={"name": "Ann", **CONSENT, **fields},
        files={"audio_sample": ("a.wav", sample)},
    )


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_a_voice_is_made_listed_shown_and_deleted(scripted_server, tmp_path):
    async with client_of(tmp_path, scripted_server) as client:
        made = (await create(client)).json()
        assert made["object"] == "audio.voice" and made["type"] == "audio_sample"
        assert made["name"] == "Ann" and made["usable"] and made["speakers"] == 1
        assert made["consent"]["words"] == CONSENT["consent"]
        assert made["consent"]["by"] == "Ann Example" and made["consent"]["at"] > 1e9
        assert 5 < made["speech_s"] < 8
        built_in, own = (await client.get("/v1/audio/voices")).json()["voices"][1:]
        assert built_in["id"] == "soft" and own == made
        assert (await client.get(f"/v1/audio/voices/{made['id']}")).json() == made
        elsewhere = (await client.get("/v1/audio/voices", headers=FAR)).json()["voices"]
        assert [one["id"] for one in elsewhere] == ["tone", "soft"]
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"/v1/audio/voices/{made['id']}", headers=FAR)
            assert refused(answer, 403)["code"] == "key_needed"
        gone = (await client.delete(f"/v1/audio/voices/{made['id']}")).json()
        assert gone == {"id": made["id"], "object": "audio.voice.deleted", "deleted": True}
        assert not list((tmp_path / "state" / "voices").iterdir())
        assert refused(await client.delete(f"/v1/audio/voices/{made['id']}"), 404)
    async with client_of(tmp_path, scripted_server, clones=False) as client:
        made = (await create(client)).json()
        assert made["usable"] is False
        asked = {"input": "alpha", "voice": made["id"]}
        answer = await client.post("/v1/audio/speech", json=asked)
        assert "the engine that speaks cannot clone" in refused(answer, 400)["message"]


async def test_a_voice_belongs_to_its_key(scripted_server, tmp_path):
    keys = {"shared_secret": "one-key,other-key"}
    async with client_of(tmp_path, scripted_server, key="one-key", **keys) as client:
        made = (await create(client)).json()
        other = {"Authorization": "Bearer other-key"}
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"/v1/audio/voices/{made['id']}", headers=other)
            assert refused(answer, 404)["code"] == "not_found"
        listed = (await client.get("/v1/audio/voices", headers=other)).json()["voices"]
        assert [one["id"] for one in listed] == ["tone", "soft"]
        asked = {"input": "alpha", "voice": {"id": made["id"]}}
        answer = await client.post("/v1/audio/speech", json=asked, headers=other)
        assert "not stored here for your key" in refused(answer, 400)["message"]
        assert (await client.get("/v1/audio/voices")).json()["voices"][-1] == made


LONG = file_of(np.zeros(90 * RATE, np.float32), "FLAC")
HOSTILE = {
    "text": (b"It is not sound." * 40, "not an audio file"),
    "empty": (b"", "empty"),
    "silence": (file_of(np.zeros(9 * RATE, np.float32)), "no speech was found"),
    "a long silence in few bytes": (LONG, "longer than 60 s"),
    "not a number": (file_of(np.full(9 * RATE, np.nan), subtype="FLOAT"), "cannot be used"),
    "too short": (file_of(said(LEVEL)), "at least 5 s"),
    "clipped": (file_of(said(1.0, 1.0)), "clipped"),
    "noisy": (file_of(said(0.04, 0.04, noise=0.008)), "noisy"),
    "two people": (file_of(said(0.5, 0.2)), "2 people speak"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_sample_that_is_no_use_is_refused(scripted_server, tmp_path, name):
    sample, says = HOSTILE[name]
    async with client_of(tmp_path, scripted_server) as client:
        error = refused(await create(client, sample), 400)
    assert says in error["message"] and error["param"] == "audio_sample"
    assert not (tmp_path / "state" / "voices").exists()


async def test_what_is_missing_or_too_much_is_said(scripted_server, tmp_path):
    async with client_of(tmp_path, scripted_server) as client:
        for fields, param in (
            ({"name": " "}, "name"),
            ({"name": "a\x07b"}, "name"),
            ({"consent": ""}, "consent"),
            ({"consent_by": ""}, "consent_by"),
            ({"consent": "cons_000000000000000000000000"}, "consent"),
            ({"type": "prompt"}, "type"),
        ):
            answer = await create(client, **fields)
            assert answer.status_code in (400, 404) and answer.json()["error"]["param"] == param
        prompt = {"type": "prompt", "name": "x", "prompt": "a warm voice"}
        assert refused(await client.post("/v1/audio/voices", json=prompt), 400)["param"] == "type"
        huge = await create(client, SAMPLE + bytes(11 * 2**20))
        error = refused(huge, 413)
        assert error["code"] == "request_too_large" and "a shorter recording" in error["message"]
        for odd in ("..%2F..%2Fetc%2Fpasswd", "%2e%2e", "voice_0"):
            for method in ("GET", "DELETE"):
                answer = await client.request(method, f"/v1/audio/voices/{odd}")
                assert answer.status_code in (404, 405)
        made = (await create(client, name="../../etc/passwd")).json()  # a name is only a label
        stored = sorted(file.name for file in (tmp_path / "state" / "voices").iterdir())
        assert stored == [f"{made['id']}.json", f"{made['id']}.wav"]


async def test_openais_client_makes_a_voice_that_speaks(scripted_server):
    client = openai.AsyncOpenAI(base_url=f"{scripted_server.http_url}/v1", api_key="any")
    consent = await client.audio.voice_consents.create(
        language="en-US", name="Ann", recording=("consent.wav", SAMPLE, "audio/wav")
    )
    try:
        assert consent.object == "audio.voice_consent" and consent.language == "en-US"
        renamed = await client.audio.voice_consents.update(consent.id, name="Ann Example")
        assert renamed.name == "Ann Example"
        assert (await client.audio.voice_consents.retrieve(consent.id)) == renamed
        listed = [one.id async for one in client.audio.voice_consents.list(limit=1)]
        assert consent.id in listed
        voice = await client.audio.voices.create(
            audio_sample=("a.wav", SAMPLE, "audio/wav"), consent=consent.id, name="Ann"
        )
        assert (voice.object, voice.type, voice.name) == ("audio.voice", "audio_sample", "Ann")
        assert voice.model_extra["consent"]["recording"] == consent.id
        spoken = await client.audio.speech.create(
            model="tts-1", voice={"id": voice.id}, input="alpha beta.", response_format="wav"
        )
        assert words_in(spoken.content) == "alpha beta."
        with av.open(io.BytesIO(spoken.content)) as sound:
            level = max(np.abs(frame.to_ndarray()).max() for frame in sound.decode(audio=0))
        assert level / 32_768 == pytest.approx(LEVEL, abs=0.02)
        async with client.realtime.connect(model="gpt-realtime") as session:
            chosen = {"output": {"voice": {"id": voice.id}}}
            await session.session.update(session={"type": "realtime", "audio": chosen})
            async for event in session:
                if event.type == "session.updated":
                    assert event.session.audio.output.voice == voice.id
                    break
                assert event.type != "error", event
        gone = await client.audio.voices.delete(voice.id)
        assert gone.deleted and gone.object == "audio.voice.deleted"
        with pytest.raises(openai.BadRequestError, match="cannot speak"):
            await client.audio.speech.create(model="tts-1", voice={"id": voice.id}, input="a")
        with pytest.raises(openai.NotFoundError):
            await client.audio.voices.delete(voice.id)
    finally:
        gone = await client.audio.voice_consents.delete(consent.id)
    assert gone.deleted and gone.object == "audio.voice_consent"
    with pytest.raises(openai.NotFoundError):
        await client.audio.voice_consents.retrieve(consent.id)


def test_an_engine_clones_in_another_interpreter_too(apart, tmp_path):
    (tmp_path / "a.wav").write_bytes(SAMPLE)
    engine = apart("tts", "scripted")
    found = loudest(engine.synthesize("alpha", str(tmp_path / "a.wav")))
    assert engine.clones and found == pytest.approx(LEVEL, abs=0.01)
    with pytest.raises(EngineError, match="no voice"):
        list(load("tts", "scripted").synthesize("alpha", str(tmp_path / "b.wav")))


# --- the page -----------------------------------------------------------------------------------


async def test_the_page_stores_offers_and_deletes_a_voice(scripted_server, tmp_path):
    settings = settings_of(
        tmp_path, http_port=0, asr_port=scripted_server.asr_port, tts_port=scripted_server.tts_port
    )
    stages = {**READY, "tts": replace(READY["tts"], voices=("tone",), clones=True)}
    async with serving(settings, stages) as address, browser_with() as browser:
        async with opened(browser, f"{address}/voices", allowed=["status of 400"]) as page:
            rows = page.locator("#servers li")
            await expect(rows).to_have_text(["None yet."])
            await page.fill("[name=name]", "Ann <b>")
            await page.fill("[name=consent_by]", "Ann Example")
            await page.click("[type=submit]")
            await expect(page.locator("#notice")).to_contain_text("choose a file")
            for sample, says in ((file_of(said(LEVEL)), "at least 5 s"), (SAMPLE, "Stored.")):
                file = {"name": "a.wav", "mimeType": "audio/wav", "buffer": sample}
                await page.set_input_files("[name=file]", file)
                await page.click("[type=submit]")
                await expect(page.locator("#notice")).to_contain_text(says)
            await expect(rows).to_contain_text(["Ann <b>"])
            await expect(rows).to_contain_text(["Ann Example consented on"])
            (stored,) = voices_of(settings).all()
            assert stored.consent.words.startswith("I agree that this server")
            async with opened(browser, address) as talk:
                await talk.click("#settings-open")
                offered = talk.locator("[name=voice] option").last
                await expect(offered).to_have_text("Ann <b>")
                assert await offered.get_attribute("value") == stored.id
            await page.evaluate(AXE)
            assert (await page.evaluate("axe.run(document)"))["violations"] == []
            await page.get_by_role("button", name="Delete Ann <b>").click()
            await expect(rows).to_have_text(["None yet."])
    assert not voices_of(settings).all()


def test_the_words_of_the_page_are_there_in_every_language():
    folder = ROOT / "web" / "texts" / "voices"
    keys = re.compile(r'^  "([\w.]+)":|, "([\w.]+)":', re.M)
    english = {
        a or b for a, b in keys.findall((ROOT / "web" / "voices.js").read_text(encoding="utf-8"))
    }
    files = sorted(file.stem for file in folder.iterdir())
    assert files == ["de", "es", "fr", "it", "ja", "pt", "zh"] and len(english) > 20
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        assert {a or b for a, b in keys.findall(text)} == english, file
        assert text.count("{seconds}") == 2 and text.count("{by}") == text.count("{date}") == 1
