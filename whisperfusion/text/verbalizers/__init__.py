"""Text normalization in languages other than English, for `whisperfusion.text.normalization`.

`rules` finds what is to be written in words, alike for all languages that put spaces between words;
`cjk` does so for Chinese and Japanese. A language is a file of words (`de`, `es`, ...) with few
functions of grammar. It is imported with its first text, so that a server that speaks English loads
none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

LANGUAGES = ("de", "es", "fr", "hi", "it", "ja", "pt", "zh")
ALIASES = {"cmn": "zh"}  # espeak's code of Mandarin, which many voices have


@lru_cache(maxsize=64)
def verbalizer(language: str) -> Callable[[str], str] | None:
    """One pass of the rules of `language`, an ISO 639 code ("es", "pt-BR"); None where there are
    none for it.
    """
    code = language.lower().replace("_", "-").partition("-")[0]
    code = ALIASES.get(code, code)
    if code in ("ja", "zh"):
        return _unspaced(code)
    return _spaced(code) if code in LANGUAGES else None


def _unspaced(code: str) -> Callable[[str], str]:
    from whisperfusion.text.verbalizers import cjk, ja, zh

    return partial(cjk.verbalized, language=(ja if code == "ja" else zh).LANGUAGE)


def _spaced(code: str) -> Callable[[str], str]:
    from whisperfusion.text.verbalizers import rules

    match code:
        case "de":
            from whisperfusion.text.verbalizers.de import LANGUAGE
        case "es":
            from whisperfusion.text.verbalizers.es import LANGUAGE
        case "fr":
            from whisperfusion.text.verbalizers.fr import LANGUAGE
        case "hi":
            from whisperfusion.text.verbalizers.hi import LANGUAGE
        case "it":
            from whisperfusion.text.verbalizers.it import LANGUAGE
        case _:
            from whisperfusion.text.verbalizers.pt import LANGUAGE
    return partial(rules.verbalized, language=LANGUAGE)
