"""The language of a turn: detected with hysteresis, told to the model, said by a voice of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_language_words

from whisperfusion.call.client_options import check_languages
from whisperfusion.call.spoken_language import SpokenLanguage
from whisperfusion.engines import ASROptions, Hypothesis, Segment
from whisperfusion.engines.scripted import ScriptedTTS
from whisperfusion.engines.text_language import TextLanguage
from whisperfusion.engines.whisper.spoken_language import BETTER, SCRIPT, Spoken, chosen, proves
from whisperfusion.engines.whisper.utterance import Decoded, WhisperUtterance
from whisperfusion.errors import EngineError
from whisperfusion.generation.instructions import LIMIT, with_language, without_notes
from whisperfusion.messages import ChatMessage
from whisperfusion.settings import Settings
from whisperfusion.settings.voices import VoiceEntry, default_entry, voice_entries
from whisperfusion.synthesis.language_voices import LanguageVoices
from whisperfusion.synthesis.listeners import Listener
from whisperfusion.synthesis.texts import Texts
from whisperfusion.synthesis.voice import Voice
from whisperfusion.synthesis.voices import Voices
from whisperfusion.text.languages import WORDS
from whisperfusion.wire.languages import UnknownLanguage, spoken_languages
from whisperfusion.wire.tts_socket import Name, Say
from whisperfusion.written_language import WrittenLanguage

THREE = ("en", "es", "fr")
SCRIPTED = Settings(tts_engine="scripted")


# --- which languages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "codes"),
    [
        ("en", ("en",)),
        ("auto", ()),
        ("en,es,fr", THREE),
        ("English, Spanish ,fr-CA", THREE),
        ("de,de", ("de",)),
    ],
)
def test_the_languages_of_a_server(setting: str, codes: tuple[str, ...]) -> None:
    assert spoken_languages(setting) == codes


@pytest.mark.parametrize("setting", ["en,Klingon", "en,auto", "auto,es", "en,,es"])
def test_a_list_that_cannot_be_meant_is_refused(setting: str) -> None:
    with pytest.raises(UnknownLanguage, match="allowed"):
        spoken_languages(setting)


def test_a_server_does_not_start_with_languages_that_its_recognizer_does_not_know() -> None:
    for setting, known in (("en,Klingon", None), ("en,es", ("en",))):
        with pytest.raises(EngineError, match="ASR_LANGUAGE=.*allowed"):
            check_languages(Settings(asr_language=setting), known)
    check_languages(Settings(asr_language="en,es"), None)
    check_languages(Settings(asr_language="xx"), ("en",))  # the recognizer says so


# --- hysteresis -----------------------------------------------------------------------------------


def options(expected: str = "en", suspected: str = "") -> ASROptions:
    return ASROptions(languages=THREE, expected=expected, suspected=suspected)


def test_only_the_languages_of_the_server_count() -> None:
    """Latin and Welsh are what Whisper takes many short sounds for."""
    found = chosen({"la": 0.5, "cy": 0.3, "es": 0.15, "en": 0.05}, options(""), 3.0)
    assert found.language == "es" and found.probability == pytest.approx(0.75)
    assert chosen({"la": 0.5, "en": 0.4}, ASROptions(), 3.0) == Spoken("la", 0.5)


def test_an_odd_guess_does_not_leave_the_language_of_the_call() -> None:
    for seconds, share in ((0.8, 0.99), (1.2, 0.85), (4.0, 0.7)):
        found = chosen({"fr": share, "en": 1 - share}, options(), seconds)
        assert (found.language, found.likeliest) == ("en", "fr"), (seconds, share)


def test_a_clear_utterance_does_and_so_does_the_second_that_points_there() -> None:
    assert chosen({"fr": 0.95, "en": 0.05}, options(), 1.5).language == "fr"
    assert chosen({"fr": 0.75, "en": 0.25}, options(suspected="fr"), 0.8).language == "fr"
    assert chosen({"fr": 0.75, "en": 0.25}, options(suspected="es"), 0.8).language == "en"


def test_a_recognizer_that_only_names_languages_has_to_name_it_twice() -> None:
    assert chosen({"fr": 0.0}, options(), 5.0) == Spoken("en", 0.0, "fr")
    assert chosen({"fr": 0.0}, options(suspected="fr"), 5.0).language == "fr"
    assert chosen({"la": 0.0}, options(), 5.0) == Spoken("en", 0.0)


class Bilingual:
    """A decoder that takes all for French by nine tenths; `words` are its mean log probabilities in
    each language.
    """

    def __init__(self, **words: float) -> None:
        self.words, self.asked = words, []

    def encode(self, pcm: np.ndarray) -> np.ndarray:
        return pcm

    def language_probabilities(self, encoded: Any) -> dict[str, float]:
        return {"fr": 0.97, "en": 0.03}

    def decode(self, encoded: Any, pcm: Any, language: str, options: ASROptions) -> Decoded:
        self.asked.append(language)
        return Decoded((Segment(0.0, 1.0, language, (), self.words[language]),))


def test_words_prove_another_language() -> None:
    """The likeliest language of 3 s of "Then said the unhappy..." was Arabic, by 0.9998."""
    pcm = np.zeros(48_000, np.float32)
    misheard, french = Bilingual(en=-0.9, fr=-0.85), Bilingual(en=-1.0, fr=-0.4)
    assert chosen({"fr": 0.97, "en": 0.03}, options(), 3.0).better == BETTER
    found = WhisperUtterance(misheard, options()).accept_audio(pcm)
    assert (found.text, found.language, found.likeliest) == ("en", "en", "fr")
    found = WhisperUtterance(french, options()).accept_audio(pcm)
    assert (found.text, found.language, found.likeliest) == ("fr", "fr", "")
    WhisperUtterance(french, ASROptions("en")).accept_audio(pcm)
    assert french.asked == ["fr", "en", "en"]  # a language that is fixed is decoded once


def test_nothing_proves_nothing() -> None:
    words = (Segment(0.0, 1.0, "oui", (), -0.9),)
    assert proves("fr", words, (), 0.2) and not proves("fr", (), words, 0.2)


def test_words_that_both_languages_are_written_in_prove_it_in_their_script() -> None:
    """Whisper base writes Spanish as it is when it is asked for English."""

    def decoded(text: str) -> tuple[Segment, ...]:
        return (Segment(0.0, 2.0, text, (), -0.3),)

    spanish, english = "Hola, ¿qué tal estás hoy?", "then set the unit are the"
    assert proves("es", decoded(spanish), decoded("Hola, qué tal estas hoy."), 0.2)
    assert not proves("es", decoded(spanish), decoded("Hello, how are you today?"), 0.2)
    assert not proves("ar", decoded(english), decoded(english), 0.2)
    assert proves("ru", decoded("Как дела?"), decoded("Как дела"), 0.2)
    assert not proves("es", decoded("..."), decoded("今天"), 0.2)


def test_what_is_almost_certain_only_needs_its_script() -> None:
    """Whisper translates fluently: the words of both languages are equally probable."""
    french, english = (
        (Segment(0.0, 2.0, text, (), logprob),)
        for text, logprob in (("Je voudrais réserver.", -0.5), ("I would like to reserve.", -0.4))
    )
    assert chosen({"fr": 0.99, "en": 0.01}, options(), 1.9).better == SCRIPT
    assert chosen({"fr": 0.92, "en": 0.08}, options(suspected="fr"), 0.9).better == SCRIPT
    assert proves("fr", french, english, SCRIPT) and not proves("fr", french, english, BETTER)
    assert not proves("ar", english, english, SCRIPT)


# --- the language of a call -----------------------------------------------------------------------


def heard(language: str, likeliest: str = "") -> Hypothesis:
    return Hypothesis("words", language, 0.9, likeliest=likeliest)


def test_a_call_follows_what_is_spoken() -> None:
    call = SpokenLanguage(None, THREE)
    assert call.current == "en" and not call.has_switched("en")
    call.turn_ended(heard("es"))
    assert call.current == "es" and call.has_switched("es")
    asked = call.options(ASROptions("en"))
    assert (asked.language, asked.languages, asked.expected) == (None, THREE, "es")
    call.turn_ended(heard("en"))
    assert call.current == "en" and call.has_switched("en")


def test_a_doubt_is_kept_for_one_utterance() -> None:
    call = SpokenLanguage(None, THREE)
    call.turn_ended(heard("en", likeliest="fr"))
    assert call.options(ASROptions()).suspected == "fr" and call.current == "en"
    call.turn_ended(heard("en"))
    assert call.options(ASROptions()).suspected == ""


def test_what_a_client_fixes_is_not_detected() -> None:
    call = SpokenLanguage("de", THREE)
    call.turn_ended(heard("es"))
    call.typed("es")
    assert call.current == "de" and call.options(ASROptions()).language == "de"
    call.choose(None)
    assert call.options(ASROptions()).expected == "de"
    call.choose("fr")
    assert call.current == "fr" and call.has_switched("fr")


def test_a_language_that_is_not_spoken_here_changes_nothing() -> None:
    call = SpokenLanguage(None, THREE)
    assert call.of(heard("la")) == "en"
    call.turn_ended(heard("la"))
    call.turn_ended(replace(heard("es"), language_assumed=True))
    assert call.current == "en"


def test_a_session_goes_on_in_its_language() -> None:
    call = SpokenLanguage(None, THREE, "es")
    assert call.current == "es" and call.has_switched("es")
    assert SpokenLanguage(None, THREE, "de").current == "en"


# --- what the model is told -----------------------------------------------------------------------

ASKED = (ChatMessage("system", "Be kind."), ChatMessage("user", "¿Qué hora es?"))


def test_the_model_is_told_the_language_beside_the_words() -> None:
    told = with_language(ASKED, "es", switched=False)
    assert told[0] == ASKED[0] and told[1].text == "¿Qué hora es? (Responde en español.)"
    assert without_notes(told[1].text) == "¿Qué hora es?"
    swedish = with_language(ASKED, "sv", switched=False)[1].text
    assert swedish.endswith("(Answer in Swedish.)") and without_notes(swedish) == "¿Qué hora es?"
    limited = with_language((ChatMessage("user", f"Open it. {LIMIT}"),), "fr", switched=False)
    assert without_notes(limited[0].text) == "Open it."
    assert without_notes("Say it (softly)") == "Say it (softly)"


def test_english_calls_see_no_change() -> None:
    assert with_language(ASKED, "en", switched=False) is ASKED
    assert with_language(ASKED, "", switched=True) is ASKED
    assert with_language(ASKED, "en", switched=True)[1].text.endswith("(Answer in English.)")


# --- voices ---------------------------------------------------------------------------------------


def test_the_grammar_of_voices() -> None:
    assert voice_entries("heart") == voice_entries("") == voice_entries("kokoro/af_heart") == ()
    assert voice_entries("en:heart, es:kokoro/ef_dora, piper/joe") == (
        VoiceEntry("en", "", "heart"),
        VoiceEntry("es", "kokoro", "ef_dora"),
        VoiceEntry("", "piper", "joe"),
    )
    assert voice_entries("de:piper/de_DE-thorsten-medium")[0].voice == "de_DE-thorsten-medium"


def test_the_default_voice_of_a_list() -> None:
    assert default_entry("es:kokoro/ef_dora, en:emma", "hibari").voice == "emma"
    assert default_entry("es:kokoro/ef_dora", "hibari") == VoiceEntry("", "", "")
    listed = Settings(tts_voice="en:emma, piper/joe, es:kokoro/ef_dora", tts_option="a=b")
    default = listed.with_default_voice
    assert (default.tts_engine, default.tts_model, default.tts_voice) == ("piper", "joe", "")
    assert default.tts_option == ""  # of another engine
    assert Settings(tts_voice="emma").with_default_voice.tts_voice == "emma"


class NoListeners:
    open: tuple[Any, ...] = ()


def language_voices(voice: str, default: Any = None) -> LanguageVoices:
    settings = replace(SCRIPTED, tts_voice=voice)
    voices = Voices(settings.with_default_voice, lambda notice: None)
    if default is not None:
        voices.chosen = Voice(default)
    return LanguageVoices(settings, voices)


class English(ScriptedTTS):
    def __init__(self) -> None:
        super().__init__()
        self.language = "en"


class Multilingual(ScriptedTTS):
    def __init__(self) -> None:
        super().__init__()
        self.language = "en"
        self.voices = ("heart", "dora", "alex", "siwis")
        self.voice_languages = {"heart": "en", "dora": "es", "alex": "es", "siwis": "fr"}


def test_each_language_has_its_voice() -> None:
    voices = language_voices("en:tone, es:soft")
    assert voices.several and set(voices.languages) == {"en", "es"}
    assert voices.choose("es", "tone") == (None, "soft", "")
    assert voices.choose("en", "tone") == voices.choose("", "tone") == (None, "tone", "")


def test_a_language_without_a_voice_is_said_by_the_default_one_and_the_caller_is_told() -> None:
    voices = language_voices("en:tone, es:soft", English())
    link, name, missing = voices.choose("de", "tone")
    assert (link, name) == (None, "tone")
    assert "no voice speaks German" in missing and "TTS_VOICE=de:NAME" in missing
    assert language_voices("tone").choose("de", "tone").missing == ""  # it reads any


def test_a_voice_that_a_caller_chose_counts_for_the_languages_that_it_speaks() -> None:
    voices = language_voices("en:heart, es:dora", Multilingual())
    assert voices.choose("es", "alex").name == "alex"
    assert voices.choose("es", "siwis").name == "dora"
    assert voices.choose("fr", "heart").name == "siwis"
    assert "German" in voices.choose("de", "heart").missing


def test_an_engine_of_several_languages_needs_no_list() -> None:
    voices = language_voices("", Multilingual())
    assert voices.several and set(voices.languages) == {"en", "es", "fr"}
    assert [voices.choose(code).name for code in ("es", "fr")] == ["dora", "siwis"]
    assert voices.choose("en", "heart") == (None, "heart", "")


class AnyLanguage(ScriptedTTS):
    """Each of whose voices speaks both languages, as those of XTTS."""

    def __init__(self) -> None:
        super().__init__()
        self.language = "en"
        self.voices = ("Ana", "Craig", "Ana@en", "Ana@es")
        self.voice_languages = {name: name.partition("@")[2] or "en" for name in self.voices}


def test_a_voice_that_speaks_every_language_goes_on_in_another_one() -> None:
    engine = AnyLanguage()
    voices = language_voices("Craig", engine)
    assert [voices.choose("es", name).name for name in ("Ana", "craig@en", None)] == [
        "Ana@es",
        "Craig@es",
        "Ana@es",
    ]
    assert "German" in voices.choose("de", "Craig").missing
    listed = language_voices("en:Ana, es:Craig@es", engine)
    assert listed.choose("es", "Ana").name == listed.choose("es", "Craig").name == "Craig@es"
    voice = Voice(engine)
    assert voice.named("CRAIG@ES") == "Craig@es" and voice.language_of("Craig@es") == "es"
    assert voice.named("alloy@es") == "Ana@es"
    for unknown in ("nobody@es", "Craig@de"):
        assert (voice.named(unknown), voice.language_of(unknown)) == ("Ana", "en")


def test_voices_of_another_engine_stand_beside_the_default_one() -> None:
    voices = language_voices("tone, es:hibari/heart", English())
    link, name, missing = voices.choose("es", "tone")
    assert link is not None and (name, missing) == ("heart", "")
    assert link.voice is None  # it is loaded when it is first needed
    assert voices.names == ("tone", "soft", "heart")
    assert voices.choose("", "heart").link is link
    link.voice = Voice(Multilingual())
    assert voices.choose("es", "tone").link is link
    link.failed(EngineError("the disk is full"))
    assert "the voice for Spanish is away" in voices.choose("es", "tone").missing


def test_an_agent_has_a_voice_for_each_language() -> None:
    voices = language_voices("en:heart, fr:siwis", Multilingual())
    agent = "en:heart, es:alex, de:hibari/heart"
    assert voices.choose("es", "heart").name == "dora"  # of the engine, without the agent
    assert voices.choose("es", "heart", agent) == (None, "alex", "")
    assert voices.choose("es", "dora", agent).name == "dora"  # the client chose that one
    assert voices.choose("fr", "heart", agent).name == "siwis"  # of TTS_VOICE
    link = voices.choose("de", "heart", agent).link
    assert link is not None and voices.choose("de", "heart").link is None
    assert voices.choose("de", None, "de:hibari/heart").link is link  # loaded once
    assert voices.choose("", "heart", agent) == (None, "heart", "")


def test_the_default_voice_of_an_agent_may_be_of_another_engine() -> None:
    voices, agent = language_voices("tone", English()), "hibari/emma, es:soft"
    link, name, missing = voices.choose("", "emma", agent)
    assert link is not None and (name, missing) == ("emma", "")
    assert voices.choose("en", "emma", agent).link is voices.choose("it", "emma", agent).link
    assert voices.choose("es", "emma", agent).name == "soft"
    assert voices.choose("", "soft", agent) == (None, "soft", "")  # the client's choice
    link.voice = Voice(Multilingual())  # which has no such voice
    link, name, missing = voices.choose("", "emma", agent)
    assert (link, name) == (None, None) and "'emma' is not known" in missing


def test_a_name_of_a_list_that_its_engine_does_not_have_is_told_and_ends_nothing(
    caplog: Any,
) -> None:
    voices = language_voices("tone", English())
    link, name, missing = voices.choose("es", "tone", "en:tone, es:gargle")
    assert (link, name) == (None, "tone") and "'gargle' is not known" in missing
    assert voices.choose("en", "tone", "en:tone, eng:soft") == (None, "tone", "")
    assert "an agent has the voices" in caplog.text


@pytest.mark.parametrize("voice", ["en:tone, english:soft", "tone, xx:soft"])
def test_a_list_of_voices_that_cannot_be_read_is_refused(voice: str) -> None:
    with pytest.raises(EngineError, match="TTS_VOICE"):
        language_voices(voice.replace("english", "eng"))


# --- texts ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(stored: Any) -> TextLanguage:
    return TextLanguage(model=stored("lid-176", "language"))


def test_the_language_of_a_text(written: TextLanguage) -> None:
    among = ("en", "es", "fr", "zh", "ru")
    for text, language in (
        ("¿Qué tiempo hace mañana?", "es"),
        ("Where is the station?", "en"),
        ("Quel temps fera-t-il demain ?\nDis-moi.", "fr"),
        ("今天天气怎么样？", "zh"),
        ("Как дела?", "ru"),
    ):
        assert written.language(text, among) == language
        assert language == "zh" or written.language(text, ()) == language
    for text in ("Oui.", "ok", "", "12 + 3", "嗯", "Aj\u0301a", "?" * 2000):
        assert written.language(text, among) == ""


def test_of_the_sentences_of_the_word_lists_none_is_told_wrong(written: TextLanguage) -> None:
    tables = (test_language_words.MORE, test_language_words.OVER, test_language_words.LISTENING)
    told = [
        (written.language(text, tuple(WORDS)), language, text)
        for table in tables
        for language, text in test_language_words.cases(table)
    ]
    sure = [one for one in told if one[0]]
    assert [one for one in sure if one[0] != one[1]] == [] and len(sure) > 110


def test_a_text_without_a_voice_is_said_by_that_of_its_language(written: TextLanguage) -> None:
    voices = language_voices("en:tone, es:soft")
    jobs: list[Any] = []
    texts = Texts(
        replace(SCRIPTED, tts_voice="en:tone, es:soft"), voices, NoListeners(), jobs.append
    )
    texts._written.start().join()
    for text, asked, voice in (
        ("¿Qué tiempo hace mañana?", None, "soft"),
        ("Where is the station?", None, "tone"),
        ("¿Qué tiempo hace mañana?", "tone", "tone"),
        ("Oui.", None, "tone"),
    ):
        listener = Listener("ann", None, Name(), "1.1.1.1")  # type: ignore[arg-type]
        texts.add(listener, Say(text, asked))
        assert jobs[-1].voice == voice, text


def test_a_model_that_cannot_be_had_tells_nothing(tmp_path: Path, caplog: Any) -> None:
    written = WrittenLanguage(Settings(model_cache_dir=str(tmp_path), model_sources="hub"))
    assert written.of("Where is the station?") == ""
    written.start().join()
    assert written.of("Where is the station?") == ""
    assert "the language of texts cannot be told" in caplog.text
