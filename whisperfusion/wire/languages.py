"""Whisper's languages, and every spelling in which clients ask for them.

Codes and English names are from the table of openai/whisper (MIT). Understood besides: ISO 639-2
and 639-3 codes (SIL, Library of Congress), macro languages and their members, tags with a script or
a region ("zh-Hans-CN", "pt_BR"), and languages' own names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable

from whisperfusion.errors import WhisperFusionError

_TABLE = """
en english zh chinese de german es spanish ru russian ko korean fr french ja japanese pt portuguese
tr turkish pl polish ca catalan nl dutch ar arabic sv swedish it italian id indonesian hi hindi
fi finnish vi vietnamese he hebrew uk ukrainian el greek ms malay cs czech ro romanian da danish
hu hungarian ta tamil no norwegian th thai ur urdu hr croatian bg bulgarian lt lithuanian la latin
mi maori ml malayalam cy welsh sk slovak te telugu fa persian lv latvian bn bengali sr serbian
az azerbaijani sl slovenian kn kannada et estonian mk macedonian br breton eu basque is icelandic
hy armenian ne nepali mn mongolian bs bosnian kk kazakh sq albanian sw swahili gl galician
mr marathi pa punjabi si sinhala km khmer sn shona yo yoruba so somali af afrikaans oc occitan
ka georgian be belarusian tg tajik sd sindhi gu gujarati am amharic yi yiddish lo lao uz uzbek
fo faroese ht haitian_creole ps pashto tk turkmen nn nynorsk mt maltese sa sanskrit
lb luxembourgish my myanmar bo tibetan tl tagalog mg malagasy as assamese tt tatar haw hawaiian
ln lingala ha hausa ba bashkir jw javanese su sundanese yue cantonese
""".split()

LONGEST = 40  # characters of a name that are looked at
NAMES = {code: name.replace("_", " ") for code, name in zip(_TABLE[::2], _TABLE[1::2], strict=True)}
# Whisper's code: other codes and names for it, separated by commas. The first three-letter codes
# are ISO 639-2 (both kinds) and 639-3.
_SPELLINGS = """
en eng; zh zho,chi,cmn,mandarin,mandarin chinese,putonghua,中文,汉语,漢語,普通话
de deu,ger,gsw,deutsch; es spa,castilian,español,castellano; ru rus,русский; ko kor,한국어
fr fra,fre,français; ja jpn,日本語
pt por,português; tr tur,türkçe; pl pol,polski; ca cat,valencian,català
nl nld,dut,flemish,nederlands; ar ara,arb,arz,apc,العربية; sv swe,svenska; it ita,italiano
id ind,in,bahasa indonesia; hi hin,हिन्दी; fi fin,suomi; vi vie,tiếng việt; he heb,iw,עברית
uk ukr,українська; el ell,gre,modern greek,ελληνικά; ms msa,may,zsm,bahasa melayu
cs ces,cze,čeština; ro ron,rum,mo,moldavian,moldovan,română; da dan,dansk; hu hun,magyar
ta tam,தமிழ்; no nor,nb,nob,bokmål,norwegian bokmål,norsk,norsk bokmål; th tha,ไทย; ur urd,اردو
hr hrv,hrvatski; bg bul,български; lt lit,lietuvių; la lat,latina; mi mri,mao; ml mal
cy cym,wel,cymraeg; sk slk,slo,slovenčina; te tel; fa fas,per,pes,prs,farsi,dari,فارسی
lv lav,lvs,latviešu; bn ben,bangla,বাংলা; sr srp,sh,hbs,serbo-croatian,српски,srpski
az aze,azj,azərbaycan; sl slv,slovenščina; kn kan; et est,ekk,eesti; mk mkd,mac,македонски
br bre,brezhoneg; eu eus,baq,euskara; is isl,ice,íslenska; hy hye,arm,հայերեն; ne nep,npi
mn mon,khk; bs bos,bosanski; kk kaz; sq sqi,alb,als,shqip; sw swa,swh,kiswahili; gl glg,galego
mr mar; pa pan,pnb,panjabi; si sin,sinhalese; km khm; sn sna; yo yor; so som; af afr; oc oci
ka kat,geo,ქართული; be bel,беларуская; tg tgk; sd snd; gu guj; am amh; yi yid,ji,ydd; lo lao
uz uzb,uzn; fo fao; ht hat,haitian,creole; ps pus,pashtu,pbt; tk tuk
nn nno,norwegian nynorsk,norsk nynorsk; mt mlt; sa san; lb ltz,letzeburgesch; my mya,bur,burmese
bo bod,tib; tl tgl,fil,filipino,pilipino; mg mlg,plt; as asm; tt tat; haw haw; ln lin; ha hau
ba bak; jw jv,jav; su sun; yue zh-yue,粵語,廣東話
"""
DETECT = frozenset(("", "auto", "detect", "autodetect", "auto-detect", "automatic", "none", "null"))
DETECT |= {"und", "undetermined", "unknown", "mul", "*"}
# What stands in for a language that this recognizer does not know.
_RELATED = {"yue": "zh", "nn": "no"}


class UnknownLanguage(WhisperFusionError):
    """What was asked for names no language that can be had; the text says what may be asked for."""


def _folded(text: str) -> str:
    """Without case, accents and outer blanks; words are joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text.strip().casefold())
    return "-".join(
        "".join(sign for sign in plain if not unicodedata.combining(sign)).replace("_", " ").split()
    )


def _spellings() -> dict[str, str]:
    found = {_folded(name): code for code, name in NAMES.items()}
    for entry in _SPELLINGS.replace("\n", ";").split(";"):
        code, _, others = entry.strip().partition(" ")
        found.update({_folded(other): code for other in others.split(",") if other})
    return found | {code: code for code in NAMES}


_CODES = _spellings()


def name_of(code: str) -> str:
    """The lower-case English name; a code that is not known stays as it is."""
    return NAMES.get(code, code)


def code_of(text: str) -> str | None:
    """Whisper's code for a code or a name in any of the spellings above, with or without script
    and region; None for anything else.
    """
    plain = _folded(text[:LONGEST])
    tag = plain if len(text.split()) == 1 else ""
    short = tag.partition("-")[0].partition(".")[0]
    return _CODES.get(plain) or (_CODES.get(short) if len(short) <= 3 else None)


def asked_language(text: str, known: Container[str] | None = None) -> str | None:
    """The code of the language that a client asks for; None = detect it (nothing, "auto", "und").

    `known`: codes of this recognizer; None = any. A close relative stands in for Cantonese and
    Nynorsk. Raises UnknownLanguage.
    """
    plain = _folded(text[:LONGEST])
    if plain in DETECT or plain.partition("-")[0] == "und":
        return None
    code = code_of(text)
    for candidate in (code, _RELATED.get(code or "")):
        if candidate and (known is None or candidate in known):
            return candidate
    raise UnknownLanguage(
        f"language is {text[:40]!r}; allowed: {_listing(known)}, or auto to detect it"
    )


def spoken_languages(setting: str, known: Container[str] | None = None) -> tuple[str, ...]:
    """ASR_LANGUAGE as codes: one = all callers speak it; several = each turn is in one of them, the
    first until another is heard; () = detect among all. Raises UnknownLanguage.
    """
    named = [asked_language(one, known) for one in setting.split(",")]
    codes = tuple(dict.fromkeys(code for code in named if code))
    if None in named and len(named) > 1:
        raise UnknownLanguage(
            f"language is {setting[:LONGEST]!r}; allowed: a code or a name, several of them "
            "separated by commas, or auto alone"
        )
    return codes


def _listing(known: Container[str] | None) -> str:
    codes = sorted(known) if isinstance(known, Iterable) else list(NAMES)
    if len(codes) <= 12:
        return ", ".join(codes)
    return f"a code or a name of one of {len(codes)} languages, such as {', '.join(codes[:8])}"
