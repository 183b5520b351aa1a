"""Whisper's languages: codes and the English names that OpenAI's and Bazarr's clients use. From the table of openai/whisper (MIT)."""

from __future__ import annotations

_TABLE = """
en english zh chinese de german es spanish ru russian ko korean fr french ja japanese pt portuguese tr turkish pl polish ca catalan nl dutch
ar arabic sv swedish it italian id indonesian hi hindi fi finnish vi vietnamese he hebrew uk ukrainian el greek ms malay cs czech
ro romanian da danish hu hungarian ta tamil no norwegian th thai ur urdu hr croatian bg bulgarian lt lithuanian la latin mi maori ml
malayalam cy welsh
sk slovak te telugu fa persian lv latvian bn bengali sr serbian az azerbaijani sl slovenian kn kannada et estonian mk macedonian br breton
eu basque is icelandic hy armenian ne nepali mn mongolian bs bosnian kk kazakh sq albanian sw swahili gl galician mr marathi pa punjabi
si sinhala km khmer sn shona yo yoruba so somali af afrikaans oc occitan ka georgian be belarusian tg tajik sd sindhi gu gujarati am amharic
yi yiddish lo lao uz uzbek fo faroese ht haitian_creole ps pashto tk turkmen nn nynorsk mt maltese sa sanskrit lb luxembourgish my myanmar
bo tibetan tl tagalog mg malagasy as assamese tt tatar haw hawaiian ln lingala ha hausa ba bashkir jw javanese su sundanese yue cantonese
""".split()

NAMES = {code: name.replace("_", " ") for code, name in zip(_TABLE[::2], _TABLE[1::2], strict=True)}
_CODES = {name: code for code, name in NAMES.items()} | {"jv": "jw", "iw": "he", "burmese": "my", "mandarin": "zh", "castilian": "es"}


def name_of(code: str) -> str:
    """The lower-case English name; a code that is not known stays as it is."""
    return NAMES.get(code, code)


def code_of(text: str) -> str | None:
    """The code for a code, a code with a region ("en-US") or an English name; None for anything else."""
    plain = text.strip().lower().replace("_", "-")
    short = plain.partition("-")[0]
    return plain if plain in NAMES else _CODES.get(plain) or (short if short in NAMES else None)
