"""French, with the numbers of France."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.numbers import roman
from whisperfusion.text.verbalizers import romance
from whisperfusion.text.verbalizers.language import (
    Language,
    Noun,
    alternatives,
    currencies,
    months,
    nouns,
    pairs,
)
from whisperfusion.text.verbalizers.telephones import INTERNATIONAL, one_by_one, rows

ONES = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
    "dix-sept dix-huit dix-neuf"
).split()
TENS = (
    "zéro dix vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt".split()
)
SCALES = (
    (10**12, "un billion", "billions"),
    (10**9, "un milliard", "milliards"),
    (10**6, "un million", "millions"),
)
MONTHS = tuple(
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
)
_WORDS = pairs("""
comma virgule|point point|minus moins|plus plus|times fois|over divisé par|equals égale|to à
less inférieur à|greater supérieur à|at_most inférieur ou égal à|at_least supérieur ou égal à
unequal différent de|about environ|plusminus plus ou moins|infinity infini|root racine de
arrow vers|and et|percent pour cent|permille pour mille|section paragraphe|copyright copyright
number numéro|degrees degrés|squared au carré|cubed au cube|power puissance|by sur|ratio à
out_of sur|zero zéro|dot point|at arobase|slash barre oblique|dash tiret|underscore tiret bas
tilde tilde|link un lien vers|version version|sharp dièse|hashtag hashtag|dated le du au dès
half et demi|per par|fold fois|height _|codes pin code mot
""")
_UNITS = nouns("""
km m kilomètre kilomètres|m m mètre mètres|cm m centimètre centimètres|mm m millimètre millimètres
ha m hectare hectares|kg m kilo kilos|g m gramme grammes|mg m milligramme milligrammes
µm m micromètre micromètres|t f tonne tonnes|l m litre litres|L m litre litres
ml m millilitre millilitres|mL m millilitre millilitres|cl m centilitre centilitres
cL m centilitre centilitres|s f seconde secondes|ms f milliseconde millisecondes
min f minute minutes|mn f minute minutes|h f heure heures|Hz m hertz|kHz m kilohertz
MHz m mégahertz|GHz m gigahertz|Ko m kilooctet kilooctets|ko m kilooctet kilooctets
Mo m mégaoctet mégaoctets|Go m gigaoctet gigaoctets|To m téraoctet téraoctets
KB m kilooctet kilooctets|MB m mégaoctet mégaoctets|GB m gigaoctet gigaoctets|W m watt watts
kW m kilowatt kilowatts|MW m mégawatt mégawatts|V m volt volts|kWh m kilowattheure kilowattheures
A m ampère ampères|mAh m milliampère-heure milliampères-heures|Ω m ohm ohms
°C m degré_Celsius degrés_Celsius|°F m degré_Fahrenheit degrés_Fahrenheit|° m degré degrés
Pa m pascal pascals|hPa m hectopascal hectopascals|kcal f kilocalorie kilocalories
dB m décibel décibels|px m pixel pixels|km/h m kilomètre_heure kilomètres_heure
m/s m mètre_par_seconde mètres_par_seconde|Mo/s m mégaoctet_par_seconde mégaoctets_par_seconde
Mbit/s m mégabit_par_seconde mégabits_par_seconde|m² m mètre_carré mètres_carrés
km² m kilomètre_carré kilomètres_carrés|cm² m centimètre_carré centimètres_carrés
m³ m mètre_cube mètres_cubes|cm³ m centimètre_cube centimètres_cubes
l/100km m litre_aux_cent litres_aux_cent
""")
_CURRENCIES = currencies("""
€/EUR m euro euros m centime centimes|$ m dollar dollars m cent cents
US$/USD m dollar_américain dollars_américains m cent cents
CAD m dollar_canadien dollars_canadiens m cent cents|£/GBP f livre livres m penny pence
¥/JPY m yen yens m sen sen|₹/INR f roupie roupies m paisa paisas
CHF m franc_suisse francs_suisses m centime centimes|₿/BTC m bitcoin bitcoins m bit bits
""")
_OF = " de "
_MANY = {
    "millions": _OF,
    "million": _OF,
    "milliards": _OF,
    "milliard": _OF,
    "mille": " ",
    "M": f"million/millions|{_OF}",
    "Md": f"milliard/milliards|{_OF}",
    "Mds": f"milliard/milliards|{_OF}",
}
_PARTS = {
    2: ("un demi", "demis"),
    3: ("un tiers", "tiers"),
    4: ("un quart", "quarts"),
    5: ("un cinquième", "cinquièmes"),
    6: ("un sixième", "sixièmes"),
    10: ("un dixième", "dixièmes"),
    7: ("un septième", "septièmes"),
    8: ("un huitième", "huitièmes"),
    9: ("un neuvième", "neuvièmes"),
}
_SHORT = pairs("""
p.ex. par exemple|c.-à-d. c'est-à-dire|c-à-d c'est-à-dire|etc. et cetera|env. environ
av.J.-C. avant Jésus-Christ|apr.J.-C. après Jésus-Christ|max. maximum|min. minimum|tél. téléphone
svp s'il vous plaît|bd boulevard|s.v.p. s'il vous plaît|cf. confer|vs. contre
TTC toutes taxes comprises|HT hors taxes
""")
_TITLES = pairs("""
M. monsieur|MM. messieurs|Mme madame|Mmes mesdames|Mlle mademoiselle|Dr docteur|Dr. docteur
Pr professeur|Me maître|St saint|Ste sainte|Mgr monseigneur|Prof. professeur
""")
_COUNTED = pairs("""
n° numéro|N° numéro|nº numéro|p. page|pp. pages|chap. chapitre|art. article|vol. volume|fig. figure
no numéro|§ paragraphe
""")
SHORT = re.compile(rf"(?<![\w.])(?:{alternatives(_SHORT)})(?!\w)")
TITLE = re.compile(rf"(?<![\w.])(?:{alternatives(_TITLES)})(?= ?[A-ZÀÂÉÈÊÎÔÙ])(?<=[^A-Z])")
COUNTED = re.compile(rf"(?<![\w.])(?:{alternatives(_COUNTED)})(?= ?[0-9])")
ORDINAL = re.compile(r"(?<![\w.,])([0-9]{1,4})(ers?|res?|ères?|ndes?|nds?|ièmes?|èmes?|es?)\b")
CENTURY = re.compile(r"\b([IVXLC]{1,8})(ers?|ères?|res?|èmes?|es?|ᵉ)(?!\w)")
CLOCK = re.compile(r"(?<![\w.:,])([01]?[0-9]|2[0-4])\s?[hH]\s?([0-5][0-9])(?:\s?min\b)?(?!\w)")
LOCAL = re.compile(r"(?<![\w.,+-])0[1-9](?:[ .-]?[0-9]{2}){4}(?![\w]|[.,-][0-9])")
PAIRS = re.compile("[0-9]{2}")
_FEMININES = frozenset(
    "heure minute seconde semaine fois page personne femme fille table ville voiture place chose "
    "question réponse étape tasse bouteille tonne langue nuit main porte route rue lettre ligne "
    "bière chambre image classe équipe pièce part mère sœur".split()
)
FEMININE = (
    "tion",
    "sion",
    "té",
    "ée",
    "ette",
    "esse",
    "ence",
    "ance",
    "ure",
    "rie",
    "logie",
    "euse",
)


def cardinal(n: int, gender: str = "") -> str:
    """ "Un" is "une" before a feminine noun."""
    if n < 0:
        return f"moins {cardinal(-n, gender)}"
    said = " ".join(romance.scaled(n, SCALES, cardinal, _below_million))
    return f"{said}e" if gender == "f" and (said == "un" or said.endswith((" un", "-un"))) else said


def _below_million(n: int) -> str:
    thousands, rest = divmod(n, 1000)
    if not thousands:
        return _below_thousand(rest)
    # quatre-vingt mille, deux cent mille: no plural before "mille"
    count = "" if thousands == 1 else _below_thousand(thousands)
    if count.endswith(("vingts", "cents")):
        count = count[:-1]
    return " ".join(filter(None, (count, "mille", _below_thousand(rest) if rest else "")))


def _below_thousand(n: int) -> str:
    hundreds, rest = divmod(n, 100)
    if not hundreds:
        return _below_hundred(rest)
    said = "cent" if hundreds == 1 else f"{ONES[hundreds]} cent{'s' * (not rest)}"
    return f"{said} {_below_hundred(rest)}" if rest else said


def _below_hundred(n: int) -> str:
    if n < 20:
        return ONES[n]
    tens, ones = divmod(n, 10)
    if tens in (7, 9):
        ones += 10
    if not ones:
        return f"{TENS[tens]}s" if tens == 8 else TENS[tens]
    joint = " et " if ones in (1, 11) and tens < 8 else "-"
    return TENS[tens] + joint + ONES[ones]


def ordinal(n: int, feminine: bool = False) -> str:
    """Premier, première, vingt et unième."""
    if n == 1:
        return "première" if feminine else "premier"
    said = cardinal(n)
    if said.endswith(("vingts", "cents", "millions")):
        said = said[:-1]
    if said.endswith("e"):
        said = said[:-1]
    if said.endswith("neuf"):
        said = f"{said[:-1]}v"
    return f"{said}{'u' * said.endswith('cinq')}ième"


def gender_of(word: str) -> str:
    single = word.lower().removesuffix("s")
    return "f" if single in _FEMININES or word in _FEMININES or single.endswith(FEMININE) else "m"


def day(n: int, _before: str) -> str:
    return "premier" if n == 1 else cardinal(n)


def date(d: int, month: int, in_year: int, before: str) -> str:
    return f"{day(d, before)} {MONTHS[month - 1]}" + (f" {cardinal(in_year)}" if in_year else "")


def clock(hour: int, minute: int, second: int) -> str:
    said = f"{cardinal(hour, 'f')} heure{'s' * (hour > 1)}"
    said += f" {cardinal(minute, 'f')}" if minute or second else ""
    return said + (f" et {cardinal(second, 'f')} seconde{'s' * (second > 1)}" if second else "")


def clocks(text: str) -> str:
    return CLOCK.sub(lambda m: clock(int(m[1]), int(m[2]), 0), text)


def money(units: int, cents: int, unit: Noun, small: Noun) -> str:
    """Trois euros cinquante."""
    whole, part = romance.priced(units, cents, unit, small, cardinal)
    return f"{whole} {cardinal(cents)}" if whole and part else whole or part


def ordinals(text: str) -> str:
    text = CENTURY.sub(_century, text)
    return ORDINAL.sub(_ordinal, text)


def _ordinal(m: Match[str]) -> str:
    n, end = int(m[1]), m[2].removesuffix("s")
    plural = "s" * m[2].endswith("s")
    if end in ("nd", "nde"):
        return ("second" if end == "nd" else "seconde") + plural
    return ordinal(n, end in ("re", "ère")) + plural


def _century(m: Match[str]) -> str:
    n = roman(m[1])
    first = m[2].startswith(("er", "r", "èr"))
    if not n or first != (n == 1) or (len(m[1]) == 1 and m[1] in "LC"):
        return m[0]
    return ordinal(n, m[2].startswith(("r", "èr"))) + "s" * m[2].endswith("s")


def telephones(text: str) -> str:
    text = INTERNATIONAL.sub(lambda m: f"plus {rows(m[1], _row)}", text)
    return LOCAL.sub(lambda m: ", ".join(_row(pair) for pair in PAIRS.findall(_digits(m[0]))), text)


def _digits(text: str) -> str:
    return "".join(c for c in text if c in "0123456789")


def _row(row: str) -> str:
    """Two digits are one number, after a zero as well."""
    if len(row) > 2:
        return one_by_one(row, cardinal)
    zero = "zéro " if len(row) == 2 and row[0] == "0" else ""
    return "zéro zéro" if row == "00" else zero + cardinal(int(row))


LANGUAGE = Language(
    code="fr",
    comma=True,
    decimals=True,
    cardinal=cardinal,
    gender_of=gender_of,
    ordinals=ordinals,
    year=lambda n, after: cardinal(n, gender_of(after) if after else ""),
    numeral=romance.numerals(ordinal, cardinal, last=1),
    day=day,
    date=date,
    clock=clock,
    clocks=clocks,
    money=money,
    words=_WORDS,
    month_names=MONTHS,
    months=months(MONTHS, "janv févr/fév mar avr mai juin juil aoû sept/sep oct nov déc"),
    units=_UNITS,
    currencies=_CURRENCIES,
    many=_MANY,
    parts=_PARTS,
    telephones=telephones,
    abbreviations=((TITLE, _TITLES), (COUNTED, _COUNTED), (SHORT, _SHORT)),
    singular_below_two=True,
)
