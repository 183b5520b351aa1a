"""Every spelling in which clients ask for a language (field case C4)."""

from __future__ import annotations

import json

import pytest

from whisperfusion.wire.asr_socket import WireError, parse_handshake
from whisperfusion.wire.languages import NAMES, UnknownLanguage, asked_language, code_of
from whisperfusion.wire.openai_rest import ApiError, transcription

SPELLINGS = {
    "no": "no nb nob nor nb-NO nb_NO no-NO Norwegian norsk Bokmål".split(),
    "nn": ["nn", "nno", "Norwegian Nynorsk"],
    "tl": ["fil", "tl", "tgl", "Filipino", "Tagalog", "fil-PH"],
    "zh": [
        "zh",
        "cmn",
        "zho",
        "chi",
        "zh-Hans-CN",
        "zh_CN",
        "zh-TW",
        "cmn-Hans-CN",
        "Mandarin",
        "Chinese",
        "中文",
    ],
    "en": ["en", "eng", "EN", " en ", "en_US", "en-GB", "en_US.UTF-8", "English"],
    "de": ["de", "deu", "ger", "Deutsch", "German", "de-CH", "gsw"],
    "pt": ["pt-BR", "pt_br", "por", "Português", "portugues"],
    "fa": ["fa", "fas", "per", "Farsi", "Persian"],
    "he": ["he", "iw", "heb"],
    "jw": ["jw", "jv", "jav", "Javanese"],
    "yue": ["yue", "Cantonese", "zh-yue"],
    None: ["", "und", "auto", "AUTO", "und-Latn", "null", "none"],
}


@pytest.mark.parametrize(
    ("code", "spelling"), [(code, one) for code, several in SPELLINGS.items() for one in several]
)
def test_c4_every_door_understands_every_spelling(code, spelling):
    assert asked_language(spelling) == code
    assert transcription([("language", spelling)], "transcribe", NAMES).language == code
    assert (
        parse_handshake(json.dumps({"uid": "a", "language": spelling}), tuple(NAMES)).language
        == code
    )


def test_c4_a_relative_stands_in_where_the_recognizer_lacks_a_language():
    assert asked_language("yue", ("en", "zh")) == "zh" and asked_language("nn", ("no",)) == "no"
    assert asked_language("yue", ("yue", "zh")) == "yue"


@pytest.mark.parametrize(
    "text", ["Klingon", "xx", "qqq", "en glish", "-", "e", "x" * 10_000, "englisch"]
)
def test_c4_what_is_no_language_is_refused_with_what_is_allowed(text):
    with pytest.raises(
        UnknownLanguage, match="allowed: a code or a name of one of 100 languages, such as"
    ):
        asked_language(text)
    with pytest.raises(ApiError, match="language is"):
        transcription([("language", text)], "transcribe", NAMES)
    with pytest.raises(WireError, match="language"):
        parse_handshake(json.dumps({"uid": "a", "language": text}), tuple(NAMES))


def test_c4_no_spelling_hides_another():
    """A code of Whisper means itself; its ISO 639-2 codes are known for every language."""
    assert all(code_of(code) == code and code_of(name) == code for code, name in NAMES.items())
    with pytest.raises(UnknownLanguage, match="allowed: de, en, or auto"):
        asked_language("fr", ("en", "de"))
