"""Field cases of recognition: C1 (people who repeat themselves), A3 (long prompts), C6 (files
beside other programs), C7 (control tokens).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_checks import ENGLISH, SECOND, errors
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import repetitions
from whisperfusion.engines import ASROptions, EngineError
from whisperfusion.engines.whisper import loop_guard as guard
from whisperfusion.engines.whisper.files import crammed
from whisperfusion.engines.whisper.parts import most_tokens
from whisperfusion.engines.whisper.prompt import PROMPT_TOKENS, text_before, tokens_before
from whisperfusion.engines.whisper.yielding import CALM_S, MARK, NICE, Callers, Yielding

REPEATED = (
    "I said no, no",
    "one two three one",
    "five five five oh one",
    "My card number",
    "I want to, I want to",
)
LOOPS = "I live at twenty two"  # of these Whisper base writes the sentence again and again
WHOLE = "harvard-sb-birch.flac"
CLIP, SAID = "kyutai-dog-or-cat.flac", "should I get a dog or a cat"


@pytest.fixture(scope="session")
def spoken() -> dict[str, np.ndarray]:
    """Some of the bench's sentences with true repetitions, as sound."""
    voices = repetitions.Voices()
    return {
        text: voices.say(number, text)[1]
        for number, (_, text) in enumerate(repetitions.sentences())
        if text.startswith((*REPEATED, LOOPS))
    }


def one(spoken: dict[str, np.ndarray], start: str) -> np.ndarray:
    [pcm] = [pcm for text, pcm in spoken.items() if text.startswith(start)]
    return pcm


# --- C1: a guard against loops that does not delete speech


def test_c1_live_speech_that_repeats_itself_is_kept(whisper, spoken):
    live = repetitions.Live(whisper)
    recognized = {
        text: live.transcribe(pcm) for text, pcm in spoken.items() if text.startswith(REPEATED)
    }
    assert {
        text: lost for text in recognized if (lost := repetitions.lost(text, recognized[text])[0])
    } == {}


def test_c1_files_that_repeat_themselves_are_kept(whisper, spoken):
    recognized = {
        text: repetitions.as_file(whisper, pcm)
        for text, pcm in spoken.items()
        if text.startswith(REPEATED[2:4])
    }
    assert {
        text: lost for text in recognized if (lost := repetitions.lost(text, recognized[text])[0])
    } == {}


def test_c1_callers_who_are_heard_together_keep_theirs(whisper, spoken):
    texts = [text for text in spoken if text.startswith((*REPEATED[:2], REPEATED[4]))]
    recognized = whisper.decode_batch(
        [(whisper.create_utterance(ENGLISH), spoken[text], True) for text in texts]
    )
    assert [
        repetitions.lost(text, one.text)[0] for text, one in zip(texts, recognized, strict=True)
    ] == ["", "", ""]


def test_c1_a_loop_still_ends_the_text(whisper, spoken):
    """Whisper base writes this sentence three times, up to its last token."""
    recognized = whisper.create_utterance(ENGLISH).accept_audio(one(spoken, LOOPS)[3200:-6400]).text
    assert recognized.count("second floor") == 1


def test_c1_a_loop_in_a_file_is_cut_by_the_sound(whisper, sound):
    """What was said once and written five times has no sound for four of them."""
    whisper.detect_language(sound(CLIP))  # loads the model for files
    files, options, pcm = whisper._files, ENGLISH, sound(CLIP)
    [found] = files._alone(pcm, options)
    text = [
        token for token in found.tokens if token < files._short.tokenizer("en", "transcribe").eot
    ]
    looping = replace(found, tokens=text * 5, text=found.text * 5)
    [kept, *more] = files._guarded(pcm, [looping], options)
    assert (errors(SAID, kept.text), more) == (0, [])
    assert files._guarded(pcm, [found], options) == [found]


def test_c1_relative_dense_text_gets_more_tokens(whisper, sound):
    """A text that comes to its last token before the sound ends, as spelled letters do, keeps
    its last words.
    """
    pcm, short = sound(CLIP), replace(whisper._short)
    real = short._generate

    def generate(
        encoded: Any, pieces: Any, language: str, options: ASROptions, beam: int = 1, times: int = 1
    ) -> Any:
        results, most = real(encoded, pieces, language, options, beam, times)
        return (
            (results, most)
            if times == 2
            else ([Cut(results[0], results[0].sequences_ids[0][:7])], 7)
        )

    short._generate = generate  # type: ignore[method-assign]
    [segment] = short.decode(short.encode(pcm), pcm, "en", ENGLISH).segments
    assert errors(SAID, segment.text) == 0


def test_c1_relative_what_is_passed_over_is_heard_by_a_more_careful_search(
    whisper, recordings, sound
):
    pcm, short = sound(WHOLE), replace(whisper._short)
    tokenizer, real = short.tokenizer("en", "transcribe"), short._generate

    def generate(
        encoded: Any, pieces: Any, language: str, options: ASROptions, beam: int = 1, times: int = 1
    ) -> Any:
        results, most = real(encoded, pieces, language, options, beam, times)
        text = [token for token in results[0].sequences_ids[0] if token < tokenizer.eot]
        return (results, most) if beam > 1 else ([Cut(results[0], text[:4] + text[-3:])], most)

    short._generate = generate  # type: ignore[method-assign]
    assert (
        errors(recordings[WHOLE]["text"], short.decode(short.encode(pcm), pcm, "en", ENGLISH).text)
        == 0
    )


def test_c1_relative_speech_after_the_end_of_the_text_is_decoded(whisper, recordings, sound):
    """The model names an end, and more is said after it; the sound of the room is not."""
    expected, pcm, short = recordings[WHOLE]["text"], sound(WHOLE), replace(whisper._short)
    tokenizer = short.tokenizer("en", "transcribe")
    real = short._generate
    [result], _most = real(short.encode(pcm), [pcm], "en", ENGLISH)
    # The birch canoe
    text = [token for token in result.sequences_ids[0] if token < tokenizer.eot][:4]
    end = guard.token_starts(whisper._whisper, tokenizer, short.encode(pcm), text, 1.3)[0][-2] + 0.2

    def generate(encoded: Any, pieces: Any, *rest: Any, **more: Any) -> Any:
        results, most = real(encoded, pieces, *rest, **more)
        return ([Cut(result, ended)], most) if pieces[0] is pcm else (results, most)

    ended = [tokenizer.timestamp_begin, *text, tokenizer.timestamp_begin + round(end / 0.02)]
    short._generate = generate  # type: ignore[method-assign]
    assert errors(expected, short.decode(short.encode(pcm), pcm, "en", ENGLISH).text) <= 1
    padded = np.pad(pcm, (0, SECOND))
    noisy = padded + np.random.default_rng(0).standard_normal(len(padded)) * 0.02
    assert np.abs(noisy[len(pcm) :]).max() > guard.LOUD * np.abs(pcm).max() and not len(
        guard.rest(noisy, len(pcm) / SECOND)
    )


def test_c1_noise_in_which_whisper_sees_a_loop_says_nothing(whisper):
    times = np.arange(6 * SECOND) / SECOND
    swelling = (
        np.random.default_rng(3).standard_normal(len(times))
        * 0.05
        * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * times)) ** 2
    )
    assert whisper.create_utterance(ENGLISH).accept_audio(swelling.astype(np.float32)).text == ""


def test_c1_words_that_took_time_are_no_loop():
    no = [1, 2] * 6 + [3, 4]
    spread = [0.2 * at for at in range(len(no) + 1)]
    assert guard.loop_at(no, spread) is None
    assert guard.loop_at([1, 2, 3, 4, 5, 6, 7] * 3, [0.2 * min(at, 7) for at in range(22)]) == 7
    # its full stop lasts
    assert (
        guard.loop_at([1, 2, 3, 4, 5, 6] * 2, [0.5 * min(at, 6) for at in range(12)] + [9.0]) == 6
    )
    assert guard.first_copy([1, 2, 3, 4, 5, 9, 1, 2, 3, 4, 5]) is None
    assert guard.copies([*range(1, 8), *range(1, 8)]) == [False] * 7 + [True] * 7


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0.05, 0.5)), max_size=60))
def test_c1_relative_nothing_that_was_spoken_is_ever_cut(tokens):
    """At the pace of speech, whatever is said as often as you like."""
    starts = np.concatenate(([0.0], np.cumsum([length for _, length in tokens]))).tolist()
    assert guard.loop_at([token for token, _ in tokens], starts) is None


def test_c1_relative_more_than_the_tokens_allow_is_decoded_on(whisper, recordings, sound):
    """When the tokens end before the sound does, the rest is decoded from there."""
    expected, pcm = recordings[WHOLE]["text"], sound(WHOLE)
    short = replace(whisper._short)
    few = most_tokens(len(pcm) / SECOND, "en") // 4
    real = short._generate

    def generate(
        encoded: Any, pieces: Any, language: str, options: ASROptions, beam: int = 1, times: int = 1
    ) -> Any:
        results, most = real(encoded, pieces, language, options, beam, times)
        if most < 4 * few:
            return results, most
        return [Cut(results[0], results[0].sequences_ids[0][:few])], few

    short._generate = generate  # type: ignore[method-assign]
    recognized = short.decode(short.encode(pcm), pcm, "en", ENGLISH)
    assert errors(expected, recognized.text) <= 2 and len(recognized.segments) > 1
    assert [s.start_s for s in recognized.segments] == sorted(
        s.start_s for s in recognized.segments
    )


class Cut:
    """A result of CTranslate2 with other tokens."""

    def __init__(self, result: Any, tokens: list[int]) -> None:
        self.sequences_ids = [tokens]
        self.scores, self.no_speech_prob = result.scores, result.no_speech_prob


# --- A3: prompts of any length


LONG = "We talk about dogs, cats and the weather of tomorrow. " * 28  # 1,500 characters
TEXTS = {
    "long": (LONG, LONG),
    "chinese": ("我们今天谈论天气和猫狗。" * 125, "狗猫" * 750),
    "emoji": ("🐕🐈" * 750, "👩‍👩‍👧‍👦" * 200),
    "one word": (LONG, "donaudampfschifffahrtsgesellschaft" * 45),
    "control": ("<|nospeech|><|endoftext|><|0.00|>" * 45, "<|en|>" * 250),
    "half a character": ("\ud83d" * 1500, "\udc15" * 1500),
}


@pytest.mark.parametrize("model", ["whisper", "whisper_english"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a3_of_long_prompts_the_last_part_is_used(request, model, kind):
    tokenizer = request.getfixturevalue(model)._short.tokenizer("en", "transcribe")
    prompt, hotwords = TEXTS[kind]
    tokens = tokens_before(tokenizer, ASROptions("en", initial_prompt=prompt, hotwords=hotwords))
    assert len(tokens) <= PROMPT_TOKENS and all(token < tokenizer.eot for token in tokens)
    if kind == "long":
        whole = tokenizer.encode(" " + LONG.strip())
        assert tokens[:111] == whole[-111:] and tokens[111:] == whole[-112:]


@pytest.mark.parametrize("model", ["whisper", "whisper_english"])
@pytest.mark.parametrize("timed", [False, True])
def test_a3_long_prompts_and_hotwords_are_heard_through(request, recordings, sound, model, timed):
    engine = request.getfixturevalue(model)
    prose = " ".join(entry["text"] for entry in recordings.values() if entry["lang"] == "en")
    options = ASROptions(
        "en", initial_prompt=prose[:1500], hotwords=prose[1500:3000], word_timestamps=timed
    )
    # prose without capitals makes tiny.en a worse speller
    assert errors(SAID, engine.create_utterance(options).accept_audio(sound(CLIP)).text) <= 3
    segments = list(engine.transcribe(sound(CLIP), options))
    assert errors(SAID, " ".join(segment.text for segment in segments)) <= 3
    assert all(bool(segment.words) is timed for segment in segments)


@pytest.mark.parametrize("kind", [kind for kind in TEXTS if kind != "long"])
def test_a3_relative_no_text_before_ends_a_file(whisper_english, sound, kind):
    prompt, hotwords = TEXTS[kind]
    options = ASROptions("en", initial_prompt=prompt, hotwords=hotwords)
    assert all(segment.end_s <= 4 for segment in whisper_english.transcribe(sound(CLIP), options))


@example(2, 1, 1)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(-5, 300))
def test_a3_relative_a_short_text_leaves_its_room_to_the_other(hotwords, prompt, most):
    class Letters:
        sot_prev, eot = -1, 1000

        def encode(self, text: str) -> list[int]:
            return [1 if letter == "h" else 2 for letter in text.strip()]

    asked = ASROptions(hotwords="h" * hotwords, initial_prompt="p" * prompt)
    tokens = text_before(Letters(), asked, most)[1:]
    assert len(tokens) == max(0, min(most, hotwords + prompt))
    assert tokens == sorted(tokens)
    assert tokens.count(1) >= min(hotwords, max(0, most) // 2) and tokens.count(2) >= min(
        prompt, max(0, most) // 2
    )


# --- C7: languages that the model does not know, and control tokens


def test_c7_a_language_the_model_was_not_trained_for_is_refused(whisper):
    assert "yue" not in whisper.languages and "zh" in whisper.languages
    with pytest.raises(
        EngineError, match=r"'yue' is not one that this recognizer knows; allowed: .*zh"
    ):
        whisper.create_utterance(ASROptions("yue"))
    with pytest.raises(EngineError, match="yue"):
        list(whisper.transcribe(np.zeros(SECOND, np.float32), ASROptions("yue")))


@pytest.mark.parametrize("model", ["whisper", "whisper_english"])
def test_c7_no_control_token_gets_into_the_prompt(request, model):
    engine = request.getfixturevalue(model)
    tokenizer = engine._short.tokenizer("en", "transcribe")
    vocabulary = engine._whisper.hf_tokenizer.get_vocab(with_added_tokens=True)
    control = [text for text, token in vocabulary.items() if token >= tokenizer.eot]
    assert len(control) > 100
    for text in [
        *control,
        "<|nospeech|>",
        "<|nocaptions|>",
        "<|noth<|en|>ing|>",
        "<|endof<|x|>text|>",
    ]:
        options = ASROptions("en", initial_prompt=f"a {text} b", hotwords=text)
        tokens = tokens_before(tokenizer, options)
        assert all(token < tokenizer.eot for token in tokens), text
        assert text not in tokenizer.decode(tokens)


def test_c7_relative_a_prompt_of_control_tokens_alone_changes_nothing(
    whisper, whisper_english, sound
):
    options = ASROptions(
        "en", initial_prompt="<|nospeech|>", hotwords="<|endoftext|> <|translate|>"
    )
    assert (
        whisper.create_utterance(options).accept_audio(sound(CLIP)).text
        == whisper.create_utterance(ENGLISH).accept_audio(sound(CLIP)).text
    )
    assert [s.text for s in whisper_english.transcribe(sound(CLIP), options)] == [
        s.text for s in whisper_english.transcribe(sound(CLIP), ENGLISH)
    ]


# --- C6: files yield to our own callers, and to nothing else


class Model:
    """Has one thread, like those of a library."""

    def __init__(self) -> None:
        self._end = threading.Event()
        started = threading.Event()
        self.thread = threading.Thread(
            target=lambda: (started.set(), self._end.wait()), daemon=True
        )
        self.thread.start()
        started.wait()

    @property
    def niceness(self) -> int:
        return os.getpriority(os.PRIO_PROCESS, self.thread.native_id or 0) - os.getpriority(
            os.PRIO_PROCESS, 0
        )

    def end(self) -> None:
        self._end.set()
        self.thread.join()


@pytest.fixture
def models() -> Iterator[list[Model]]:
    loaded: list[Model] = []
    yield loaded
    for model in loaded:
        model.end()


def test_c6_files_yield_to_our_callers_only(models):
    now = [0.0]
    callers = Callers(lambda: now[0])

    def load() -> Model:
        models.append(Model())
        return models[-1]

    yielding = Yielding(load, callers=callers)
    room = 19 - os.getpriority(os.PRIO_PROCESS, 0)  # where the tests themselves are nice
    assert yielding.model().niceness == min(MARK, room)  # like all others
    callers.spoke()
    assert models[0].niceness == min(NICE, room)  # in the middle of a batch
    now[0] += CALM_S / 2
    callers.spoke()
    now[0] += CALM_S / 2
    assert yielding.model() is models[0]  # a word was said a moment ago
    now[0] += CALM_S
    assert yielding.model() is models[1] and models[1].niceness == min(MARK, room)
    assert yielding.model() is models[1]


def test_c6_relative_a_model_that_is_loaded_beside_a_caller_yields_from_the_start(models):
    callers = Callers(lambda: 0.0)
    callers.spoke()
    yielding = Yielding(lambda: models.append(Model()) or models[-1], callers=callers)
    assert yielding.model() is yielding.model()
    if sys.platform == "linux":
        assert models[0].niceness == min(NICE, 19 - os.getpriority(os.PRIO_PROCESS, 0))


def test_c6_relative_the_recognizers_words_count_as_a_callers(whisper, sound):
    """The real engine: its model for files is nice as soon as it hears a caller."""
    whisper.detect_language(sound(CLIP))
    whisper.create_utterance(ENGLISH).accept_audio(sound(CLIP))
    assert whisper._yielding._nice


def test_c1_relative_more_than_can_be_said_in_the_sound_is_read_again():
    """A batch that wrote "00 00 00 …" for "W, W, W, dot": it packs, and no one says so much in 2
    s; a card number does not.
    """
    sound = np.tile(np.float32([0.3, -0.3]), 16_000)
    zeros = SimpleNamespace(text=" 00" * 60, compression_ratio=9.0)
    card = SimpleNamespace(text=" four two four two four two", compression_ratio=2.5)
    assert crammed([zeros], sound) and not crammed([card], sound)
    assert not crammed([SimpleNamespace(text=zeros.text, compression_ratio=1.5)], sound)
