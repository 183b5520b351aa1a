"""How texts are read aloud in other languages than English: tables, and what holds for all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_to_num import text2num

from whisperfusion.audio import Samples
from whisperfusion.synthesis.voice import Voice
from whisperfusion.text.normalization import spoken
from whisperfusion.text.segmentation import Clauses
from whisperfusion.text.verbalizers import LANGUAGES, de, es, fr, hi, it, ja, pt, zh

ROOT = Path(__file__).parent.parent
EXAMPLES = int(os.environ.get("WHISPERFUSION_EXAMPLES", "25"))
MODULES = {"de": de, "es": es, "fr": fr, "hi": hi, "it": it, "ja": ja, "pt": pt, "zh": zh}
FAMILIES = {
    "Germanic": ["de"],
    "Romance": ["es", "fr", "it", "pt"],
    "CJK": ["ja", "zh"],
    "Indic": ["hi"],
}
BITS = (
    "0 1 2 3 5 10 12 99 007 1990 2026 3,14 1.234 1,234 $ € ¥ ₹ % ° km kg h m² x + - – = < > / "
    ": , . ; ( ) @ # & Uhr Sr. M. n. Nr. XIV 14:30 14h30 3.10.2026 2026-10-03 example.com "
    "http:// www. 1º 2ª 3e 5वीं ½ 1/2 √ π ' \" _ ~ * ^ | \\ é 好 年 月 円 元 に किमी de del "
    "Millionen 万 1ª"
).split(" ")
# A sentence around each case, so that a reply may be cut before and after it.
AROUND = {
    "de": ("Ich sage dir dazu gerne noch etwas: ", ", denke ich."),
    "es": ("Te cuento ahora otra cosa: ", ", creo."),
    "fr": ("Je te dis encore autre chose : ", ", je crois."),
    "it": ("Ti dico ancora una cosa: ", ", credo."),
    "pt": ("Digo mais uma coisa: ", ", acho."),
    "hi": ("मैं आपको एक और बात बताता हूँ: ", ", शायद।"),
    "zh": ("我再告诉你一件事：", "，对吧。"),
    "ja": ("もう一つ言います：", "、そうです。"),
}
# "tab.", "abs." and "Max." end English sentences, before a number as well
CUT = {"Abb. 3 und Tab. 4", "§ 5 Abs. 2", "max. 5 Personen"}


def cases(language: str) -> list[tuple[str, str]]:
    lines = (ROOT / "tests" / "data" / "spoken" / f"{language}.tsv").read_text(encoding="utf-8")
    found = [line.split("\t") for line in lines.split("\n") if line and not line.startswith("# ")]
    return [(text, expected) for text, expected in found]


@pytest.mark.parametrize("language", LANGUAGES)
def test_table(language: str) -> None:
    read = {text: spoken(text, language) for text, _ in cases(language)}
    wrong = [(text, read[text], said) for text, said in cases(language) if read[text] != said]
    assert wrong == []
    assert [said for said in read.values() if spoken(said, language) != said] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_are_long_enough(family: str) -> None:
    assert sum(len(set(cases(language))) for language in FAMILIES[family]) >= 300


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_that_arrives_letter_by_letter_keeps_its_numbers(language: str) -> None:
    cut = {}
    for text, _ in cases(language):
        whole, clauses = text.join(AROUND[language]), Clauses()
        pieces = [*(piece for c in whole for piece in clauses.feed(c)), clauses.flush()]
        said = "".join(spoken(piece, language) for piece in pieces).replace(" ", "")
        if said != spoken(whole, language).replace(" ", ""):
            cut[text] = pieces
    assert set(cut) <= CUT, cut


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=EXAMPLES)
@given(
    bits=st.lists(
        st.tuples(st.sampled_from(BITS) | st.text(max_size=3), st.sampled_from(["", "", " "])),
        max_size=20,
    )
)
def test_every_text_has_a_reading_without_digits_that_is_its_own_reading(
    language: str, bits: list[tuple[str, str]]
) -> None:
    said = spoken("".join(a + b for a, b in bits), language)
    assert spoken(said, language) == said == " ".join(said.split())
    assert not set(said) & set("0123456789")
    said.encode()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Die Straße ist lang, aber schön; wir gehen gerne dort spazieren – oder nicht?"),
        ("es", "¿Dónde está la biblioteca? No lo sé, pregúntale a tu tía."),
        ("fr", "L'été dernier, j'ai vu l'œuvre d'un maître; c'était très beau."),
        ("it", "Perché non vieni con noi? C'è un po' di tempo, e l'acqua è calda."),
        ("pt", "Não sei se é possível, mas vou tentar amanhã de manhã."),
        ("hi", "मुझे नहीं पता कि वह कहाँ है, लेकिन हम उसे ढूँढ लेंगे।"),
        ("ja", "今日は天気がいいので、公園へ行きましょう。「はい」と答えた。"),
        ("zh", "今天天气很好，我们去公园吧。她说：“好的！”"),
    ],
)
def test_plain_text_stays_as_it_is(language: str, text: str) -> None:
    assert spoken(text, language) == text.replace("’", "'")


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=EXAMPLES)
@given(
    words=st.lists(st.text("abcdefghijklmnopqrstuvwxyzäéñçàü", min_size=3, max_size=9), max_size=12)
)
def test_words_are_never_lost(language: str, words: list[str]) -> None:
    assert spoken(" ".join(words), language).split() == words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "unit", ["1", "1.", "1,", "1 ", "€1", "3.10.", "1:", "XI", "a@", "5 km ", "年1", "z. B."]
)
def test_hostile_texts_have_a_reading(language: str, unit: str) -> None:
    text = unit * (2_000 // len(unit))
    assert len(spoken(text, language)) < 40 * len(text)


@pytest.mark.parametrize("language", ["de", "es", "fr", "it", "pt"])
def test_numbers_are_read_back_by_another_library(language: str) -> None:
    numbers = [*range(0, 1000, 7), 1000, 1001, 1999, 2026, 10_000, 100_000, 123_456, 999_999]
    if language == "it":  # it does not read "duecentotto" and "duecentottanta"
        numbers = [n for n in numbers if n < 100 or n % 100 != 8 and n // 10 % 10 != 8]
    said = {n: MODULES[language].cardinal(n, "") for n in numbers}
    assert {n: words for n, words in said.items() if text2num(words, language) != n} == {}


def test_languages_are_found_by_their_codes() -> None:
    assert spoken("5 km", "pt-BR") == "cinco quilômetros"
    assert spoken("5 km", "es_MX") == "cinco kilómetros"
    assert spoken("5 km", "cmn") == "五公里"
    assert spoken("5 km", "nl") == "5 km"  # has no rules: for the voice to read


class Spanish:
    """A voice of another language than English, of which only the text matters."""

    sample_rate, language, voices = 24_000, "es", ("voz",)

    def synthesize(self, text: str, voice: str, speed: float) -> Iterator[Samples]:
        yield np.zeros(len(text), np.float32)

    def close(self) -> None:
        pass


def test_a_voice_gets_the_words_of_its_language() -> None:
    assert Voice(Spanish()).readable("Son 21 km, 3,50 €. 😀", None) == (
        "Son veintiún kilómetros, tres euros con cincuenta.",
        "",
    )


def test_english_loads_none_of_it() -> None:
    code = (
        "import sys; from whisperfusion.text.normalization import spoken; spoken('5 km', 'en');"
        "sys.exit(any('verbalizers' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
