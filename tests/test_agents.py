"""Agents: their files, which call gets which, and what a call has of one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from client import Caller
from running import ROOT, SCRIPTED, Server

from whisperfusion.agents import Agents, UnknownAgent, check_folder
from whisperfusion.agents.reading import read_agent
from whisperfusion.call.client_options import (
    changed_options,
    first_options,
    usable,
    with_agents_speakers,
)
from whisperfusion.client import CallRefused, ReplyDone, ReplyText
from whisperfusion.errors import SettingsError
from whisperfusion.generation.agent_chains import check_chains
from whisperfusion.messages import Stage
from whisperfusion.settings import Settings
from whisperfusion.wire.asr_handshake import Update, parse_handshake
from whisperfusion.wire.speakers import KnownSpeaker

PLAIN = 'instructions = "You are a parrot."\n'
WHOLE = """
title = "Parrot"
instructions = "You are a parrot."
greeting = "Hello."
voice = "soft"
speed = 1.5
language = "German"
eagerness = 0.1
chain = ["groq/llama-3.3-70b", "embedded"]
tools = ["time"]
filler = "Hm."
keys = [2, "my phone"]
numbers = ["+49 30 123-45"]
"""


def folder_of(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def test_the_examples_are_valid_and_say_who_they_are():
    check_folder(ROOT / "agents")
    found = Agents(ROOT / "agents").all()
    assert list(found) == ["receptionist", "tutor"]
    assert all(one.greeting and one.title != one.name for one in found.values())


def test_a_whole_file(tmp_path):
    agent = read_agent(folder_of(tmp_path, parrot=WHOLE) / "parrot.toml")
    assert (agent.name, agent.title, agent.language, agent.speed) == ("parrot", "Parrot", "de", 1.5)
    assert agent.chain == "groq/llama-3.3-70b, embedded" and agent.tools == ("time",)
    assert agent.keys == (2, "my phone") and agent.numbers == ("+49 30 123-45",)


@pytest.mark.parametrize(
    ("voice", "listed", "name"),
    [
        ('"soft"', "", "soft"),
        ('["soft"]', "", "soft"),
        ('"en:soft, es:kokoro/ef_dora"', "en:soft, es:kokoro/ef_dora", "soft"),
        ('["es:kokoro/ef_dora", "en:soft"]', "es:kokoro/ef_dora, en:soft", "soft"),
        ('"kokoro/ef_dora, en:soft"', "kokoro/ef_dora, en:soft", None),  # not the default engine's
        ('"es:kokoro/ef_dora"', "es:kokoro/ef_dora", None),
    ],
)
def test_a_voice_or_one_for_each_language(tmp_path, voice, listed, name):
    agent = read_agent(folder_of(tmp_path, parrot=f"{PLAIN}voice = {voice}") / "parrot.toml")
    settings = Settings(tts_engine="scripted")
    assert (agent.voices, agent.default_voice(settings)) == (listed, name)
    stages = {"tts": Stage("tts", "ready", voices=("tone", "soft"))}
    assert usable(agent, settings, stages).voice == agent.voice
    stages = {"tts": Stage("tts", "ready", voices=("tone",))}
    assert usable(agent, settings, stages).voice == (agent.voice if name is None else None)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "instructions is missing"),
        (PLAIN + "speed = 3", "speed = 3 is not valid; allowed: a number from 0.5 to 2"),
        (PLAIN + "speed = true", "a number from 0.5 to 2"),
        (PLAIN + "eagerness = nan", "eagerness = nan is not valid; allowed: a number from 0 to 1"),
        (PLAIN + 'language = "Elvish"', "language = 'Elvish'"),
        (PLAIN + "language = 5", "a language as a code or a name"),
        (PLAIN + "voice = 5", "voice = 5 is not valid; allowed: text of 0 to 2000"),
        (PLAIN + 'voice = "en:soft, eng:tone"', "a list such as en:heart, es:kokoro/ef_dora"),
        (PLAIN + 'voice = ["en:soft", "xx:tone"]', "one for each language, by its code"),
        (PLAIN + "voice = [1]", "text of 0 to 2000"),
        (PLAIN + "keys = [0]", "keys = [0] is not valid; allowed: a list"),
        (PLAIN + "keys = [true]", "a list of at most 100 keys"),
        (PLAIN + 'numbers = ["none"]', "telephone numbers as text"),
        (PLAIN + "tools = [1]", "names of tools"),
        (PLAIN + 'colour = "red"', "the key 'colour' is not known; allowed: title, instructions"),
        (PLAIN + "voice =", "is not valid TOML"),
        ('instructions = ""', "text of 1 to 8000 characters"),
    ],
)
def test_a_wrong_file_names_itself_the_key_and_what_is_allowed(tmp_path, text, named):
    file = folder_of(tmp_path, parrot=text) / "parrot.toml"
    with pytest.raises(SettingsError) as wrong:
        read_agent(file)
    assert str(file) in str(wrong.value) and named in str(wrong.value)


def test_known_speakers_of_an_agent(tmp_path):
    (tmp_path / "ann.wav").write_bytes(b"RIFF")
    given = 'known_speakers = [{ name = "Ann", sample = "ann.wav" }]\nknown_speakers_only = true'
    agent = read_agent(folder_of(tmp_path, parrot=f"{PLAIN}{given}") / "parrot.toml")
    assert agent.known_speakers == (KnownSpeaker("Ann", (), b"RIFF"),)
    hello = parse_handshake('{"uid": "u", "events": true}')
    asked = with_agents_speakers(hello, agent)
    assert asked.enable_diarization and asked.known_speakers == agent.known_speakers
    assert first_options(asked, Settings(), True, agent).known_speakers_only
    own = parse_handshake('{"uid": "u", "events": true, "known_speakers_only": false}')
    assert not first_options(with_agents_speakers(own, agent), Settings(), True).known_speakers_only
    assert with_agents_speakers(hello, None) is hello
    for wrong, named in (
        ('known_speakers = [{ name = "Ann", sample = "bob.wav" }]', "a WAV file beside this file"),
        ("known_speakers_only = true", "needs known_speakers"),
        ("known_speakers_only = 1", "true or false"),
    ):
        with pytest.raises(SettingsError, match=named):
            read_agent(folder_of(tmp_path, parrot=f"{PLAIN}{wrong}") / "parrot.toml")


def test_names_of_files(tmp_path):
    with pytest.raises(SettingsError, match="small letters"):
        read_agent(folder_of(tmp_path, **{"Big Parrot": PLAIN}) / "Big Parrot.toml")
    (tmp_path / "latin.toml").write_bytes(b'instructions = "\xe9"')
    with pytest.raises(SettingsError, match="UTF-8"):
        read_agent(tmp_path / "latin.toml")


def test_one_key_and_one_number_have_one_agent(tmp_path):
    check_folder(folder_of(tmp_path, a=PLAIN + "keys = [1]", b=PLAIN + 'numbers = ["1"]'))
    folder_of(tmp_path, c=PLAIN + 'numbers = ["+1"]')
    with pytest.raises(SettingsError, match="number '1' stands in the agents b and c"):
        check_folder(tmp_path)


def test_name_before_number_before_key(tmp_path):
    agents = Agents(
        folder_of(
            tmp_path,
            a=PLAIN,
            b=PLAIN + 'numbers = ["+49 (30) 123"]',
            c=PLAIN + "keys = [1]",
            d=PLAIN + 'keys = ["my phone"]',
        )
    )

    def chosen(*given) -> str | None:
        agent = agents.choose(*given)
        return agent and agent.name

    assert chosen("a", "4930123", 0) == "a"
    assert chosen(None, "4930123", 0) == "b"
    assert chosen(None, "030123", 0) == "c"
    assert chosen(None, "", 1) is None
    assert chosen(None, "", 1_000_007, "my phone") == "d"
    assert chosen("", "4930123", 0) is None
    assert chosen(None) is None
    with pytest.raises(UnknownAgent, match="'x' is not known; known: a, b, c, d"):
        agents.choose("x")
    with pytest.raises(UnknownAgent, match="none"):
        Agents(tmp_path / "nowhere").choose("x")


def test_a_changed_file_holds_for_the_next_call_and_a_broken_one_does_not(tmp_path, caplog):
    agents = Agents(folder_of(tmp_path, a=PLAIN))
    assert agents.named("a").instructions == "You are a parrot."
    folder_of(tmp_path, a='instructions = "You are a wise old owl."', b=PLAIN)
    assert agents.named("a").instructions == "You are a wise old owl." and list(agents.all()) == [
        "a",
        "b",
    ]
    folder_of(tmp_path, a="speed = 9")
    assert agents.named("a").instructions == "You are a wise old owl."
    assert "a.toml" in caplog.text and "stays as it was" in caplog.text
    (tmp_path / "b.toml").unlink()
    assert list(agents.all()) == ["a"]
    assert list(Agents(tmp_path).all()) == []  # of a broken file a new process knows nothing


def test_what_a_client_asks_for_wins_and_goes_back_to_the_agent(tmp_path):
    agent = read_agent(folder_of(tmp_path, parrot=WHOLE) / "parrot.toml")
    settings = agent.settings(Settings())
    assert (settings.tts_voice, settings.tts_speed, settings.asr_language) == ("soft", 1.5, "de")

    def options(**given):
        hello = json.dumps({"uid": "u", "events": True, **given})
        return first_options(parse_handshake(hello), settings, True, agent)

    plain = options()
    assert (plain.instructions, plain.eagerness, plain.filler) == ("You are a parrot.", 0.1, "Hm.")
    assert plain.chain == "groq/llama-3.3-70b, embedded" and plain.server_tools == ("time",)
    own = options(instructions="You are a cat.", eagerness=0.9)
    assert (own.instructions, own.eagerness) == ("You are a cat.", 0.9)
    assert changed_options(Update(instructions=""), settings) == {
        "instructions": "You are a parrot."
    }


def test_a_chain_that_cannot_be_asked_ends_the_start(tmp_path):
    agents = check_folder(folder_of(tmp_path, a=PLAIN + 'chain = "groq/llama-3.3-70b, embedded"'))
    check_chains(agents.values(), Settings(agents_dir=str(tmp_path)))
    for chain in ("nowhere/model", "groq, groq", "a b"):
        agents = check_folder(folder_of(tmp_path, a=PLAIN + f'chain = "{chain}"'))
        with pytest.raises(SettingsError, match=r"a\.toml: chain = "):
            check_chains(agents.values(), Settings(agents_dir=str(tmp_path)))


def test_a_broken_agent_ends_the_start(tmp_path):
    server = Server(*SCRIPTED, f"--agents-dir={folder_of(tmp_path, a='speed = 9')}")
    assert server.process.wait(timeout=60) == 1
    server.stop()
    assert "a.toml: instructions is missing" in server.log and "Traceback" not in server.log


async def test_calls_with_agents(tmp_path, start_server):
    """One server: by name, by number, by key, a name that is not known, and a file that changes."""
    folder = folder_of(
        tmp_path,
        parrot=PLAIN + 'numbers = ["+49 30 12"]\nvoice = "soft"',
        jay=PLAIN + 'greeting = "Hello there. I am a jay."',
        owl='instructions = "You are an owl."\nkeys = [1]\nvoice = "hoarse"',
    )
    server = start_server(*SCRIPTED, f"--agents-dir={folder}")

    async def told(**options) -> str:
        async with Caller(server, audio=False, **options) as caller:
            await caller.send("say", text="instructions")
            await caller.answered()
            return caller.reply(1)

    assert (await told(agent="parrot")).startswith("Mine are: You are a parrot. Today is ")
    assert "You are a parrot." in await told(number="+493012")
    assert "You are an owl." in await told(agent="owl")  # its voice is not known: the default's
    assert "You are a cat." in await told(agent="owl", instructions="You are a cat.")
    assert "friendly assistant" in await told()
    with pytest.raises(CallRefused, match="agent 'dog' is not known; known: jay, owl, parrot"):
        await told(agent="dog")
    folder_of(tmp_path, dog='instructions = "You are a dog."')
    assert "You are a dog." in await told(agent="dog")
    assert "agent owl" in server.log
    await greeted(server)


async def greeted(server) -> None:
    """Once, and the dialogue knows of it; a call that goes on begins without."""
    async with Caller(server, agent="jay") as caller:
        await caller.until(lambda: caller.of(ReplyDone))
        assert caller.reply(1) == "Hello there. I am a jay."
        assert all(one.announced for one in caller.of(ReplyText))
        assert np.abs(caller.audio(1)).max() > 0
        await caller.send("say", text="recall")
        await caller.answered(2)
        assert caller.reply(2) == "I said: Hello there. I am a jay."
    lines = [{"role": "user", "text": "hi"}, {"role": "assistant", "text": "Good day."}]
    async with Caller(server, agent="jay", history=lines) as caller:
        await caller.send("say", text="recall")
        await caller.answered()
        assert caller.reply(1) == "I said: Good day."
