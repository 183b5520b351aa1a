"""What is said while a tool runs, by language."""

from __future__ import annotations

MEANWHILE = {
    "en": "One moment.",
    "de": "Einen Moment.",
    "fr": "Un instant.",
    "es": "Un momento.",
    "it": "Un momento.",
    "pt": "Um momento.",
    "nl": "Een ogenblik.",
    "pl": "Chwileczkę.",
    "ru": "Одну минуту.",
    "uk": "Хвилинку.",
    "cs": "Okamžik.",
    "sv": "Ett ögonblick.",
    "da": "Et øjeblik.",
    "nb": "Et øyeblikk.",
    "fi": "Hetkinen.",
    "tr": "Bir dakika.",
    "ja": "少々お待ちください。",
    "zh": "请稍等。",
    "ko": "잠시만요.",
    "ar": "لحظة واحدة.",
    "hi": "एक क्षण।",
}


def meanwhile(language: str) -> str:
    """In the user's language; "" where it is not among these: silence is better than another
    language.
    """
    return MEANWHILE.get(language.lower().split("-")[0], "")
