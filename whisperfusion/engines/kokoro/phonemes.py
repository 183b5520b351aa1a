"""What Kokoro reads: phonemes, by the library misaki, as the model was trained with them.

Most languages go through espeak-ng, which is under the GPL and so lives in this engine's own
interpreter (requirements-kokoro.txt). Japanese is read by a dictionary (UniDic) and Chinese by
pinyin; where those packages are missing, by espeak-ng too, which is worse. English comes from
espeak-ng in misaki's notation, without misaki's dictionary: that needs spaCy and a model of it.
Latin words in Japanese and Chinese are read as English.

The vocabulary is that of hexgrad/Kokoro-82M's config.json, and which reader is for which language
that of its pipeline (Apache-2.0).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

from whisperfusion.engines.kokoro.voices import LETTERS

# position = token; the places of "\0" are not used
VOCABULARY = (
    '\0;:,.!?\0\0—…"()“” \u0303ʣʥʦʨᵝ\uab67AI\0\0\0\0\0O\0Q\0ST\0\0W\0Yᵊabcdef\0hijklmnopqrstuvwxyz'
    "ɑɐɒæ\0\0βɔɕç\0ɖðʤə\0ɚɛɜ\0\0ɟ\0ɡ\0\0\0\0\0\0ɥ\0ɨɪʝ\0\0\0\0\0\0ɯɰŋɳɲɴø\0ɸθœ\0\0ɹ\0ɾɻ\0ʁɽʂʃʈʧ\0ʊʋ\0"
    "ʌɣɤ\0χʎ\0\0\0ʒʔ\0\0\0\0\0\0\0ˈˌː\0\0\0ʰ\0ʲ\0\0\0\0↓\0→↗↘\0\0\0ᵻ"
)
TOKENS = {symbol: at for at, symbol in enumerate(VOCABULARY) if symbol != "\0"}
LONGEST = 510  # tokens that the model takes at once
# where phonemes are divided, best first
CUTS = ("!.?…", ";:—", ",", " ")
LATIN = re.compile(r"[A-Za-z][A-Za-z'’ -]*")
SWITCHED = re.compile(r"\([a-z]{2,3}(?:-[a-z]{2,4})?\)")  # espeak-ng's mark of another language

Reader = Callable[[str], str]

log = logging.getLogger("engine")


# it counts words before and after, and "in a" is one of espeak-ng's; it sets its level itself
logging.getLogger("phonemizer").addFilter(lambda record: record.levelno >= logging.ERROR)


class Phonemizer:
    """Thread-safe. A language is loaded when it is first asked for: up to a second for Japanese and
    Chinese.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # espeak-ng has one state for a process
        self._readers: dict[str, Reader] = {}

    def __call__(self, text: str, letter: str) -> str:
        """Symbols of `VOCABULARY` for `text`, in the language of voices with this first letter."""
        with self._lock:
            if letter not in self._readers:
                self._readers[letter] = reader_of(letter)
            found = self._readers[letter](text)
        return " ".join("".join(one for one in found if one in TOKENS).split())


def reader_of(letter: str) -> Reader:
    language = LETTERS[letter][0]
    if language == "en":
        return english(letter == "b")
    readers = {"ja": japanese, "zh": chinese}
    if language in readers:
        try:
            return readers[language]()
        except (ImportError, RuntimeError) as error:  # fugashi's, without a dictionary
            log.warning(
                "Kokoro reads %s by espeak-ng, which is worse (%s); `make kokoro` mends that",
                language,
                error,
            )
    return by_espeak(LETTERS[letter][1])


def english(british: bool) -> Reader:
    from misaki.espeak import EspeakFallback

    read = EspeakFallback(british=british)

    def phonemes(text: str) -> str:
        found = SWITCHED.sub("", read(SimpleNamespace(text=text))[0] or "")
        return found.replace("ɹɹ", "ɹ")  # "weather is": its rules are for single words

    return phonemes


def by_espeak(name: str) -> Reader:
    from misaki.espeak import EspeakG2P

    read = EspeakG2P(language=name)
    return lambda text: read(text)[0]


def japanese() -> Reader:
    # misaki.ja imports pyopenjtalk, which fetches its dictionary from the network
    from misaki.cutlet import Cutlet

    read, latin = Cutlet(), english(british=False)
    return lambda text: mixed(text, lambda part: read(part)[0], latin)


def chinese() -> Reader:
    import jieba
    from misaki.zh import ZHG2P

    jieba.setLogLevel(logging.WARNING)
    read, latin = ZHG2P(), english(british=False)
    return lambda text: mixed(text, lambda part: read(part)[0], latin)


def mixed(text: str, read: Reader, latin: Reader) -> str:
    """`text` by `read`, its Latin words by `latin`."""
    found, end = [], 0
    for word in LATIN.finditer(text):
        found += [(read, text[end : word.start()]), (latin, word[0])]
        end = word.end()
    found.append((read, text[end:]))
    return " ".join(how(part.strip()) for how, part in found if part.strip())


def pieces_of(phonemes: str, longest: int, cuts: tuple[str, ...] = CUTS) -> Iterator[str]:
    """`phonemes` in pieces of at most `longest`, divided at the best mark of `cuts` that makes a
    piece of at least a third of that.
    """
    while len(phonemes) > longest:
        head = phonemes[:longest]
        ends = (max(head.rfind(mark) for mark in marks) + 1 for marks in cuts)
        end = next((end for end in ends if end > longest // 3), longest)
        piece, phonemes = head[:end].strip(), phonemes[end:].strip()
        if piece:
            yield piece
    if phonemes:
        yield phonemes
