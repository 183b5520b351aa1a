"""Italian."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.numbers import roman
from whisperfusion.text.verbalizers import romance
from whisperfusion.text.verbalizers.language import (
    Language,
    Noun,
    alternatives,
    any_case,
    currencies,
    months,
    nouns,
    pairs,
)
from whisperfusion.text.verbalizers.telephones import telephones

ONES = (
    "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici "
    "quindici sedici diciassette diciotto diciannove"
).split()
TENS = "zero dieci venti trenta quaranta cinquanta sessanta settanta ottanta novanta".split()
SCALES = (
    (10**12, "mille miliardi", "mila miliardi"),
    (10**9, "un miliardo", "miliardi"),
    (10**6, "un milione", "milioni"),
)
FIRST = "zero primo secondo terzo quarto quinto sesto settimo ottavo nono decimo".split()
MONTHS = tuple(
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre".split()
)
_WORDS = pairs("""
comma virgola|point punto|minus meno|plus più|times per|over diviso|equals uguale a|to a
less minore di|greater maggiore di|at_most minore o uguale a|at_least maggiore o uguale a
unequal diverso da|about circa|plusminus più o meno|infinity infinito|root radice di|arrow a|and e
percent per cento|permille per mille|section paragrafo|copyright copyright|number numero
degrees gradi|squared al quadrato|cubed al cubo|power alla|by per|ratio a|out_of su|zero zero
dot punto|at chiocciola|slash barra|dash trattino|underscore trattino basso|tilde tilde
link un link a|version versione|sharp diesis|hashtag hashtag|dated il del dal al entro|half e mezzo
per al|fold volte|height e|codes pin cap codice password
""")
_UNITS = nouns("""
km m chilometro chilometri|m m metro metri|cm m centimetro centimetri|mm m millimetro millimetri
ha m ettaro ettari|kg m chilo chili|g m grammo grammi|mg m milligrammo milligrammi
µm m micrometro micrometri|t f tonnellata tonnellate|l m litro litri|L m litro litri
ml m millilitro millilitri|mL m millilitro millilitri|cl m centilitro centilitri
s m secondo secondi|sec m secondo secondi|ms m millisecondo millisecondi|min m minuto minuti
h v ora ore|Hz m hertz|kHz m chilohertz|MHz m megahertz|GHz m gigahertz|KB m kilobyte|kB m kilobyte
MB m megabyte|GB m gigabyte|TB m terabyte|W m watt|kW m chilowatt|MW m megawatt|V m volt
kWh m chilowattora|A m ampere|mAh m milliampere_ora|Ω m ohm|°C m grado_Celsius gradi_Celsius
°F m grado_Fahrenheit gradi_Fahrenheit|° m grado gradi|Pa m pascal|hPa m ettopascal
kcal f chilocaloria chilocalorie|dB m decibel|px m pixel|km/h m chilometro_orario chilometri_orari
m/s m metro_al_secondo metri_al_secondo|MB/s m megabyte_al_secondo|Mbit/s m megabit_al_secondo
m² m metro_quadrato metri_quadrati|mq m metro_quadrato metri_quadrati
km² m chilometro_quadrato chilometri_quadrati|cm² m centimetro_quadrato centimetri_quadrati
m³ m metro_cubo metri_cubi|cm³ m centimetro_cubo centimetri_cubi
l/100km m litro_per_cento_chilometri litri_per_cento_chilometri
""")
_CURRENCIES = currencies("""
€/EUR m euro euro m centesimo centesimi|$ m dollaro dollari m centesimo centesimi
US$/USD m dollaro_statunitense dollari_statunitensi m centesimo centesimi
£/GBP f sterlina sterline m penny pence|¥/JPY z yen yen m sen sen|₹/INR f rupia rupie m paisa paise
CHF m franco_svizzero franchi_svizzeri m centesimo centesimi|₿/BTC m bitcoin bitcoin m bit bit
""")
_MANY = {
    "milioni": " di ",
    "milione": " di ",
    "miliardi": " di ",
    "miliardo": " di ",
    "mila": " ",
    "mln": "milione/milioni| di ",
    "mld": "miliardo/miliardi| di ",
    "Mln": "milione/milioni| di ",
    "Mld": "miliardo/miliardi| di ",
}
_PARTS = {
    2: ("un mezzo", "mezzi"),
    3: ("un terzo", "terzi"),
    4: ("un quarto", "quarti"),
    5: ("un quinto", "quinti"),
    6: ("un sesto", "sesti"),
    7: ("un settimo", "settimi"),
    8: ("un ottavo", "ottavi"),
    9: ("un nono", "noni"),
    10: ("un decimo", "decimi"),
}
_SHORT = any_case("""
p.es. per esempio|ad.es. ad esempio|es. esempio|ecc. eccetera|etc. eccetera|ca. circa|tel. telefono
a.C. avanti Cristo|d.C. dopo Cristo|max. massimo|min. minimo|S.p.A. società per azioni|c.a. circa
vs. contro|cfr. confronta|mln. milioni|mld. miliardi
""")
_TITLES = pairs("""
Sig. signor|Sig.ra signora|Sig.na signorina|Sigg. signori|Dott. dottor|Dott.ssa dottoressa
Dr. dottor|Prof. professor|Prof.ssa professoressa|Ing. ingegner|Avv. avvocato|Arch. architetto
Geom. geometra|S. san|On. onorevole|P.zza piazza|V.le viale|C.so corso
""")
_COUNTED = pairs("""
n. numero|N. numero|n° numero|nº numero|N° numero|p. pagina|pag. pagina|pagg. pagine|pp. pagine
cap. capitolo|art. articolo|vol. volume|fig. figura|§ paragrafo
""")
SHORT = re.compile(rf"(?<![\w.])(?i:{alternatives(_SHORT)})(?!\w)")
TITLE = re.compile(rf"(?<![\w.])(?:{alternatives(_TITLES)})(?= ?[A-ZÀÈÉÌÒÙ])")
COUNTED = re.compile(rf"(?<![\w.])(?:{alternatives(_COUNTED)})(?= ?[0-9])")
_NOUNS = (
    "piano|posto|giorno|secolo|premio|livello|anno|turno|capitolo|articolo|classe|volta|fila|edizione|"
    "parte|grado|posizione|tappa|elementare|media"
)
ORDINAL = re.compile(rf"(?<![\w.,])([0-9]{{1,3}})(ª|º|°(?= (?:{_NOUNS})\b)|a(?= (?:{_NOUNS})\b))")
CENTURY = re.compile(r"\b([IVXLC]{1,8})°?(?= secolo\b)")
CLOCK = re.compile(
    r"(?<![\w.:,])([01]?[0-9]|2[0-4])(?:[:h]([0-5][0-9]))(?![\w:]|[.,][0-9])|"
    r"(?:(?<=\bore )|(?<=\balle )|(?<=\bdalle )|(?<=\bdelle )|(?<=\bverso le ))"
    r"([01]?[0-9]|2[0-4])\.([0-5][0-9])(?![\w:]|[.,][0-9])"
)
LOCAL = re.compile(
    r"(?<![\w.,+-])(?:0[0-9]{1,3}[ /-][0-9]{5,8}|3[0-9]{2}[ /-]?[0-9]{3} ?[0-9]{3,4})"
    r"(?![\w]|[.,][0-9])"
)
NO_NOUN = frozenset(
    "e o a di da in con per che è sono fu era più meno tra fra del della al alla il lo la i gli le "
    "un una ma non se come su già virgola punto".split()
)
FEMININE = frozenset(
    "mano parte classe chiave frase base fase moglie pelle nave torre luce voce croce pace".split()
)
MASCULINE = frozenset("problema programma sistema tema clima pianeta poeta".split())


def cardinal(n: int, gender: str = "") -> str:
    """ "Uno" alone and before "studente" ("z"), "un" and "una" before other nouns, "un'" before a
    feminine vowel ("v").
    """
    if n < 0:
        return f"meno {cardinal(-n, gender)}"
    if n == 1:
        return {"": "uno", "z": "uno", "f": "una", "v": "un'"}.get(gender, "un")
    said = romance.scaled(n, SCALES, _count, _below_million)
    return " ".join(said)


def _count(n: int) -> str:
    """Before "mila" and "milioni": ventun."""
    said = cardinal(n)
    return said[:-1] if said.endswith("uno") and n % 100 != 1 else said


def _below_million(n: int) -> str:
    thousands, rest = divmod(n, 1000)
    said = ""
    if thousands:
        # only a last "tre" has an accent: ventitremila
        said = "mille" if thousands == 1 else _count(thousands).replace("é", "e") + "mila"
    return said + (_below_thousand(rest, bool(said)) if rest or not said else "")


def _below_thousand(n: int, inside: bool = False) -> str:
    hundreds, rest = divmod(n, 100)
    before = "" if hundreds == 1 else ONES[hundreds]
    said = f"{before}cento" if hundreds else ""
    tens, ones = divmod(rest, 10)
    if rest < 20:
        below = ONES[rest] if rest or not said else ""
    else:
        stem = TENS[tens][:-1] if ones in (1, 8) else TENS[tens]
        below = stem + (ONES[ones] if ones else "")
    if rest % 10 == 3 and rest != 13 and (said or inside or tens):
        below = below[:-1] + "é"
    if said and rest // 10 == 8 or rest == 8:  # centotto
        said = said.removesuffix("o")
    return said + below


def ordinal(n: int, feminine: bool = False) -> str:
    """Primo, undicesima, ventitreesimo."""
    if 0 < n <= 10:
        said = FIRST[n]
    else:
        said = cardinal(n).replace("é", "e")
        said = (said if n % 10 in (3, 6) and n % 100 not in (13, 16) else said[:-1]) + "esimo"
    return f"{said[:-1]}a" if feminine else said


def gender_of(word: str) -> str:
    word = word.lower()
    if word in NO_NOUN:
        return ""
    feminine = word.endswith(("a", "zione", "sione", "tà", "tù", "notte"))
    if (feminine and word not in MASCULINE) or word in FEMININE:
        return "v" if word[0] in "aeiou" else "f"
    impure = word[:1] == "s" and word[1:2] not in "aeiou"
    return "z" if impure or word.startswith(("z", "gn", "ps", "x")) else "m"


def day(n: int, _before: str) -> str:
    return "primo" if n == 1 else cardinal(n)


def date(d: int, month: int, in_year: int, before: str) -> str:
    return f"{day(d, before)} {MONTHS[month - 1]}" + (f" {cardinal(in_year)}" if in_year else "")


def clock(hour: int, minute: int, second: int) -> str:
    """Quattordici e trenta: the article is in the text."""
    named = "zero" if hour == 0 else cardinal(hour, "f")
    said = f"{named} e {cardinal(minute)}" if minute or second else named
    return said + (
        f" e {cardinal(second, 'm')} second{'i' if second > 1 else 'o'}" if second else ""
    )


def clocks(text: str) -> str:
    return CLOCK.sub(lambda m: clock(int(m[1] or m[3]), int(m[2] or m[4]), 0), text)


def money(units: int, cents: int, unit: Noun, small: Noun) -> str:
    """Tre euro e cinquanta."""
    whole, part = romance.priced(units, cents, unit, small, cardinal)
    return f"{whole} e {cardinal(cents)}" if whole and part else whole or part


def ordinals(text: str) -> str:
    text = CENTURY.sub(lambda m: ordinal(roman(m[1])) if roman(m[1]) else m[0], text)
    return ORDINAL.sub(lambda m: ordinal(int(m[1]), _feminine(m)), text)


def _feminine(m: Match[str]) -> bool:
    return m[2] in "aª"


LANGUAGE = Language(
    code="it",
    comma=True,
    decimals=True,
    cardinal=cardinal,
    gender_of=gender_of,
    ordinals=ordinals,
    year=lambda n, after: cardinal(n),
    numeral=romance.numerals(ordinal, cardinal, last=3999),
    day=day,
    date=date,
    clock=clock,
    clocks=clocks,
    money=money,
    words=_WORDS,
    month_names=MONTHS,
    months=months(MONTHS, "gen feb mar apr mag giu lug ago set/sett ott nov dic"),
    units=_UNITS,
    currencies=_CURRENCIES,
    many=_MANY,
    parts=_PARTS,
    telephones=telephones("più", LOCAL, cardinal),
    abbreviations=((TITLE, _TITLES), (COUNTED, _COUNTED), (SHORT, _SHORT)),
)
