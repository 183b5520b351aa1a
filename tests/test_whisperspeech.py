"""The engine whisperspeech: its real code on the recorded signatures of WhisperSpeech 0.8.9, with a
voice that counts.

The stand-in speaks as the package does in what matters here: two stages that call `step` after each
token, an answer only at the end, load failures that are printed and swallowed, models bound to the
thread that built them. `make test-gpu-stack` runs the same engine on the real package.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import fake_gpu
import numpy as np
import pytest

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.hibari import LEAD_S
from whisperfusion.engines.whisperspeech import S2A, T2S, short_pieces
from whisperfusion.errors import Unsayable

PIPELINE = "whisperspeech.pipeline.Pipeline"
T2S_GENERATE = "whisperspeech.t2s_up_wds_mlang_enclm.TSARTransformer.generate"
S2A_GENERATE = "whisperspeech.s2a_delar_mup_wds_mlang.SADelARTransformer.generate"
DECODE = "whisperspeech.a2wav.Vocoder.decode"
EMBED = f"{PIPELINE}.extract_spk_emb"
EVERY_CALL = (T2S_GENERATE, S2A_GENERATE, DECODE)


class Voice:
    """Behaviours for every recorded callable that the engine uses.

    `fail[part]` makes one of them fail.
    """

    def __init__(self, gpu: fake_gpu.Fake) -> None:
        self.gpu, self.fail, self.at_step = gpu, dict[str, BaseException](), (lambda: None)
        self.steps, self.loudness = 0, 2.0  # the vocoder's output is not clipped
        gpu.on(PIPELINE)(self.build)
        gpu.on(EMBED)(self.embed)
        gpu.on("whisperspeech.languages.to_id")(lambda lang: ("en", "pl", "de").index(lang))  # noqa: PLW0108
        gpu.on(T2S_GENERATE)(self.semantic)
        gpu.on(S2A_GENERATE)(self.acoustic)
        gpu.on(DECODE)(self.sound)

    def build(self, pipe, t2s_ref, s2a_ref, optimize, torch_compile, device):
        import torch

        assert optimize, "without it the models cannot generate"
        pipe.default_speaker = torch.zeros(192)
        for part, made in (
            ("t2s", "t2s_up_wds_mlang_enclm.TSARTransformer"),
            ("s2a", "s2a_delar_mup_wds_mlang.SADelARTransformer"),
        ):
            if part in self.fail:
                print(f"Failed to load the {part.upper()} model:")
                print(
                    'Traceback (most recent call last):\n  File "x.py", line '
                    f"1\n{self.fail[part]!r}\n"
                )
            if part not in self.fail or "optimize" in str(self.fail[part]):
                setattr(pipe, part, self.gpu.new(f"whisperspeech.{made}", ttoks_len=550))
        if "vocoder" in self.fail:
            raise self.fail["vocoder"]
        pipe.vocoder = self.gpu.new("whisperspeech.a2wav.Vocoder")
        self.thread = threading.get_ident()

    def embed(self, pipe, fname):
        import torch

        if "embed" in self.fail:
            raise self.fail["embed"]
        return torch.ones(192).cuda()

    def take_steps(self, count: int, step: Callable[[], None]) -> None:
        assert threading.get_ident() == self.thread, (
            "what torch.compile recorded belongs to the thread that built it"
        )
        for _ in range(count):
            self.steps += 1
            self.at_step()
            step()

    def semantic(
        self, model, txt, cps, lang, stoks_prompt, N, bs, T, top_k, step, show_progress_bar
    ):
        import torch

        assert txt.strip() and len(txt.encode()) < model.ttoks_len and "\n" not in txt
        assert not show_progress_bar, (
            "fastprogress writes a line of blocks into the log for each sentence"
        )
        if "generate" in self.fail:
            raise self.fail.pop("generate")
        self.take_steps(len(txt), step)
        return torch.zeros((1, len(txt)), dtype=torch.int64).cuda()

    def acoustic(
        self,
        model,
        stoks,
        speakers,
        langs,
        atoks_prompt,
        N,
        bs,
        T,
        top_k,
        show_progress_bar,
        step,
        subsample_enc,
    ):
        import torch

        assert stoks.ndim == 1 and tuple(speakers.shape) == (1, 192) and not show_progress_bar
        self.take_steps(len(stoks) * 3, step)
        return torch.zeros((1, 4, len(stoks) * 3), dtype=torch.int64).cuda()

    def sound(self, vocoder, atoks):
        import torch

        return torch.full((1, atoks.shape[-1] * 320), self.loudness, dtype=torch.float32).cuda()


@pytest.fixture
def gpu() -> Iterator[fake_gpu.Fake]:
    with fake_gpu.installed("whisperspeech", "torch") as fake:
        yield fake


@pytest.fixture
def voice(gpu) -> Voice:
    return Voice(gpu)


@pytest.fixture
def engine(voice):
    return load("tts", "whisperspeech", torch_compile=False)


def spoken(engine, text: str, name: str = "", speed: float = 1.0) -> list[np.ndarray]:
    return [pcm for pcm in engine.synthesize(text, name, speed) if len(pcm)]


# --- speaking -----------------------------------------------------------------------------------


def test_a_sentence_becomes_sound(gpu, engine):
    assert (engine.sample_rate, engine.voices, engine.model, engine.device) == (
        24_000,
        ("default",),
        "s2a-q4-tiny-en+pl",
        "cuda",
    )
    (pcm,) = spoken(engine, "Hello there,\nhow are you?")
    # clipped, not wrapped around
    assert pcm.dtype == np.float32 and pcm.ndim == 1 and np.abs(pcm).max() == 1.0
    assert gpu.arguments(PIPELINE)[0] == {
        "t2s_ref": T2S,
        "s2a_ref": S2A,
        "optimize": True,
        "torch_compile": False,
        "device": "cuda",
    }
    call = gpu.arguments(T2S_GENERATE)[0]
    assert (call["txt"], call["cps"], call["lang"]) == ("Hello there, how are you?", 15.0, "en")
    assert all(len(gpu.arguments(name)) == 1 for name in EVERY_CALL)


def test_silence_around_the_sound_is_cut(voice, engine, gpu):
    import torch

    parts = [np.zeros(24_000), np.ones(24_000) / 2, np.zeros(24_000)]
    gpu.on(DECODE)(
        lambda vocoder, atoks: torch.tensor(np.concatenate(parts)[None].astype(np.float32)).cuda()
    )
    assert sum(map(len, spoken(engine, "Hello."))) == 24_000 + int(24_000 * (LEAD_S + 0.25))


@pytest.mark.parametrize("text", ["", "  \n ", "...", "?! --", "“”"])
def test_nothing_to_say_makes_no_sound(gpu, engine, text):
    """The package would make a sound of it."""
    assert spoken(engine, text) == [] and gpu.arguments(T2S_GENERATE) == []


def test_a_long_text_is_said_in_pieces_that_fit(gpu, engine):
    """The package crops without a word what is longer than its text window, and ends after 30 s
    of speech.
    """
    text = "Zażółć gęślą jaźń, " * 60 + "x" * 700 + " end."
    assert len(spoken(engine, text)) > 3
    asked = [call["txt"] for call in gpu.arguments(T2S_GENERATE)]
    assert "".join("".join(asked).split()) == "".join(text.split())
    assert max(len(piece.encode()) for piece in asked) <= 300


@pytest.mark.parametrize(
    ("speed", "cps", "longest"),
    [(1.0, 15.0, 300), (0.5, 7.5, 150), (1.2, 18.0, 360), (2.0, 20.0, 400)],
)
def test_speed_is_characters_per_second_and_bounds_the_piece(gpu, engine, speed, cps, longest):
    """Slow speech fits fewer characters into the 30 s that a generation can hold."""
    spoken(engine, "word " * 200, speed=speed)
    asked = gpu.arguments(T2S_GENERATE)
    assert [call["cps"] for call in asked] == pytest.approx([cps] * len(asked))
    assert longest - 10 < max(len(call["txt"]) for call in asked) <= longest


def test_the_text_window_of_the_model_bounds_the_piece_too(voice, gpu, engine):
    engine._pipe.t2s.ttoks_len = 100
    spoken(engine, "word " * 200)
    assert max(len(call["txt"]) for call in gpu.arguments(T2S_GENERATE)) <= 99


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One two. Three four, five", ["One two.", "Three four,", "five"]),
        ("Three four, five six", ["Three four,", "five six"]),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ["aaaaaaaaaaaaaa", "aaaaaaaaaaaaaa", "aa"]),
        ("ęęęęęęęęęę", ["ęęęęęęę", "ęęę"]),
        ("half \ud83d pair", ["half ? pair"]),
    ],
)
def test_text_is_divided_at_sentences_then_clauses_then_words(text, pieces):
    assert list(short_pieces(text, 14)) == pieces


# --- stopping -----------------------------------------------------------------------------------


class Gate:
    """Stops the voice at its next token once `when` holds, until it is opened."""

    def __init__(self, voice: Voice, when: Callable[[], bool]) -> None:
        self._when, self._reached, self._opened = when, threading.Event(), threading.Event()
        voice.at_step = self._stop

    def _stop(self) -> None:
        if self._when():
            self._reached.set()
            assert self._opened.wait(30)

    def close_here(self, sound: Iterator[np.ndarray]) -> None:
        assert self._reached.wait(30)
        sound.close()
        self._opened.set()


def test_closing_stops_after_the_next_token(voice, engine):
    """Without the step callback a sentence that no client hears would keep the engine for all its
    length.
    """
    gate = Gate(voice, lambda: voice.steps == 10)
    sound = engine.synthesize(
        "A sentence that is long enough to be stopped in its middle. And one more.", "", 1.0
    )
    assert len(next(sound)) == 0  # a pulse: nothing is heard before the end
    gate.close_here(sound)
    assert spoken(engine, "Hi.")  # takes its turn after what was stopped, in the same thread
    assert voice.steps == 10 + 4 * len("Hi.")


def test_closing_between_two_pieces_makes_no_further_one(voice, gpu, engine):
    engine._pipe.t2s.ttoks_len = 20
    gate = Gate(voice, lambda: len(gpu.arguments(DECODE)) == 1)
    sound = engine.synthesize("First piece here. Second piece here. Third piece here.", "", 1.0)
    assert len(next(pcm for pcm in sound if len(pcm)))
    gate.close_here(sound)
    spoken(engine, "Hi.")
    assert [call["txt"] for call in gpu.arguments(T2S_GENERATE)] == [
        "First piece here.",
        "Second piece here.",
        "Hi.",
    ]


def test_two_callers_take_turns_in_one_thread(voice, gpu, engine):
    """Its key-value caches are for one sentence at a time."""
    found: list[int] = []
    callers = [
        threading.Thread(target=lambda: found.append(len(spoken(engine, "Two of us speak. " * 5))))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert found == [1, 1, 1, 1]
    order = [call.name for call in gpu.calls if call.name in EVERY_CALL]
    assert order == [*EVERY_CALL] * 4
    assert set().union(*(gpu.threads(name) for name in (PIPELINE, *EVERY_CALL))) == {voice.thread}


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("İ"), ValueError("odd"), IndexError("tokens")])
def test_a4_an_odd_text_ends_itself_and_the_next_one_is_said(voice, engine, error):
    voice.fail["generate"] = error
    with pytest.raises(Unsayable, match=r"WhisperSpeech cannot say 'Hello\.'"):
        list(engine.synthesize("Hello.", "", 1.0))
    voice.fail.clear()
    assert sum(map(len, engine.synthesize("Hello.", "", 1.0))) > 0 and engine.language == "en"


def test_no_memory_on_the_gpu_ends_the_turn_and_the_next_one_is_said(voice, engine):
    import torch

    voice.fail["generate"] = torch.cuda.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB.\nmore lines"
    )
    with pytest.raises(
        EngineError,
        match=(
            r"could not say 'Hello\.' \(OutOfMemoryError: CUDA out of memory.*give the other "
            r"engines less"
        ),
    ):
        spoken(engine, "Hello.")
    assert spoken(engine, "Hello again.")


def test_a_broken_cuda_context_ends_the_process(voice, engine):
    """It answers every later call with the same error, so only a new process can speak again: no
    EngineError.
    """
    voice.fail["generate"] = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        spoken(engine, "Hello.")


def test_sound_that_is_not_a_number_is_an_error(voice, engine):
    voice.loudness = float("nan")
    with pytest.raises(EngineError, match="overflowed"):
        spoken(engine, "Hello.")


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("t2s", FileNotFoundError("no such model")),
        ("s2a", FileNotFoundError("no such model")),
        ("s2a", RuntimeError("optimize failed: torch.compile does not like this Python")),
    ],
)
def test_a_load_failure_that_the_package_swallows_ends_the_start(
    voice, caplog, capsys, part, error
):
    """The last case leaves the model there, but unable to speak."""
    voice.fail[part] = error
    with pytest.raises(
        EngineError,
        match=rf"cannot load .*t2s-small.* and mine\.model \({type(error).__name__}.*TTS_MODEL",
    ):
        load("tts", "whisperspeech", model="mine.model", torch_compile=False)
    assert "Traceback" in caplog.text  # the whole of it is in the log
    assert capsys.readouterr().out == ""


def test_a_missing_vocoder_ends_the_start(voice):
    voice.fail["vocoder"] = OSError("the hub cannot be reached")
    with pytest.raises(
        EngineError,
        match=r"vocoder .* \(OSError: the hub cannot be reached\); .*HF_HOME and TORCH_HOME",
    ):
        load("tts", "whisperspeech", torch_compile=False)


def test_without_a_gpu_it_says_so(voice, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="NVIDIA GPU .*TTS_ENGINE=hibari"):
        load("tts", "whisperspeech")


def test_without_the_package_it_says_so():
    with fake_gpu.installed("torch"):
        with pytest.raises(EngineError, match="not installed .*requirements-gpu.txt"):
            load("tts", "whisperspeech")


def test_an_unknown_language_ends_the_start(voice, gpu):
    with pytest.raises(EngineError, match="no language 'xx'"):
        load("tts", "whisperspeech", language="xx", torch_compile=False)
    assert gpu.arguments(PIPELINE) == []  # before minutes of loading


def test_the_language_is_asked_of_the_model(voice, gpu):
    spoken(load("tts", "whisperspeech", language="pl", torch_compile=False), "Dzień dobry.")
    assert gpu.arguments(T2S_GENERATE)[0]["lang"] == "pl"


# --- voices -------------------------------------------------------------------------------------


def test_a_recording_gives_its_voice_once(gpu, voice, tmp_path):
    recording = tmp_path / "grandmother.wav"
    recording.write_bytes(b"RIFF")
    engine = load("tts", "whisperspeech", voice=str(recording), torch_compile=False)
    assert engine.voices == ("grandmother", "default")
    for name in ("", "grandmother", "default"):
        spoken(engine, "Hello.", name)
    assert gpu.arguments(EMBED) == [{"fname": str(recording)}]
    assert [
        float(call["speakers"][0][0].cpu().numpy()) for call in gpu.arguments(S2A_GENERATE)
    ] == [1.0, 1.0, 0.0]
    with pytest.raises(EngineError, match="no voice 'bob'; available: grandmother, default"):
        spoken(engine, "Hello.", "bob")


def test_a_missing_recording_ends_the_start(voice, gpu, tmp_path):
    with pytest.raises(EngineError, match=r"no recording at .*nobody\.wav.*TTS_VOICE"):
        load("tts", "whisperspeech", voice=str(tmp_path / "nobody.wav"))
    assert gpu.calls == []


def test_a_recording_that_cannot_be_read_ends_the_start(voice, tmp_path):
    recording = tmp_path / "noise.wav"
    recording.write_bytes(b"none")
    voice.fail["embed"] = RuntimeError("Failed to open the input")
    with pytest.raises(
        EngineError,
        match=(
            r"no voice can be made of .*noise\.wav \(RuntimeError: Failed to open the "
            r"input\).*WAV or FLAC"
        ),
    ):
        load("tts", "whisperspeech", voice=str(recording), torch_compile=False)


# --- warming up ---------------------------------------------------------------------------------


def test_three_warm_ups_in_the_thread_that_speaks(voice, gpu, caplog, capfd):
    with caplog.at_level(logging.INFO):
        engine = load("tts", "whisperspeech")
    assert [record.message for record in caplog.records] == [
        "Warming up torch compile model",
        "Warmed up Whisper Speech",
    ]
    assert len(gpu.arguments(DECODE)) == 3 and gpu.arguments(PIPELINE)[0]["torch_compile"] is True
    assert "3/3" in capfd.readouterr().err  # the progress bar
    spoken(engine, "Hello.")
    assert gpu.threads(T2S_GENERATE) == {voice.thread}


def test_lack_of_memory_at_the_start_is_not_called_a_missing_compiler(voice):
    voice.fail["generate"] = RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")
    with pytest.raises(EngineError, match="out of memory") as caught:
        load("tts", "whisperspeech")
    assert "compiler" not in str(caught.value)


def test_without_a_compiler_the_start_says_what_to_install(voice, caplog):
    voice.fail["generate"] = RuntimeError(
        "Failed to find C compiler. Please specify via CC environment variable."
    )
    with pytest.raises(
        EngineError, match=r"warmed up .*C compiler.*devel image.*TTS_OPTION=torch_compile=false"
    ):
        load("tts", "whisperspeech")
    assert "Warmed up" not in caplog.text
