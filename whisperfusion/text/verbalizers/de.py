"""German."""

from __future__ import annotations

import re
from re import Match

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
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn "
    "sechzehn siebzehn achtzehn neunzehn"
).split()
TENS = "null zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
SCALES = (
    (10**12, "eine Billion", "Billionen"),
    (10**9, "eine Milliarde", "Milliarden"),
    (10**6, "eine Million", "Millionen"),
)
IRREGULAR = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}
MONTHS = tuple(
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
)
# Words before an ordinal, by the ending that they ask for.
STRONG = frozenset("ein mein dein sein ihr unser kein".split())  # ein dritter
WEAK = frozenset(
    "am im zum zur beim vom dem den des einem einen einer eines meinem meinen seinem seinen ihrem "
    "ihren ihrer seiner meiner unserem unseren ab seit bis jeden jedem dieses diesem diesen".split()
)
DATIVE = frozenset("in an auf mit von bei nach zu aus seit vor unter über ab während".split())
ARTICLES = STRONG | WEAK | frozenset("der die das eine jede jeder jedes diese dieser seine".split())

_WORDS = pairs("""
comma Komma|point Punkt|minus minus|plus plus|times mal|over geteilt durch|equals gleich|to bis
half einhalb|per pro|fold mal|height _|codes pin plz postleitzahl code passwort kontonummer
less kleiner als|greater größer als|at_most kleiner gleich|at_least größer gleich|unequal ungleich
about etwa|plusminus plus minus|infinity unendlich|root Wurzel aus|arrow zu|and und|percent Prozent
permille Promille|section Paragraf|copyright Copyright|number Nummer|degrees Grad|squared hoch zwei
cubed hoch drei|power hoch|by mal|ratio zu|out_of von|zero null|dot Punkt|at at|slash Schrägstrich
dash Bindestrich|underscore Unterstrich|tilde Tilde|link ein Link zu|version Version|sharp Sharp
hashtag Hashtag|dated am vom bis seit zum ab der den dem
""")
_UNITS = nouns("""
km m Kilometer|m m Meter|cm m Zentimeter|mm m Millimeter|µm m Mikrometer|nm m Nanometer|ha m Hektar
kg n Kilogramm|g n Gramm|mg n Milligramm|µg n Mikrogramm|t f Tonne Tonnen|l m Liter|L m Liter
ml m Milliliter|mL m Milliliter|cl m Zentiliter|dl m Deziliter|s f Sekunde Sekunden
ms f Millisekunde Millisekunden|min f Minute Minuten|h f Stunde Stunden|Std f Stunde Stunden
Min f Minute Minuten|Sek f Sekunde Sekunden|Hz n Hertz|kHz n Kilohertz|MHz n Megahertz
GHz n Gigahertz|kB n Kilobyte|KB n Kilobyte|MB n Megabyte|GB n Gigabyte|TB n Terabyte|W n Watt
kW n Kilowatt|MW n Megawatt|GW n Gigawatt|Wh f Wattstunde Wattstunden|V n Volt|mA n Milliampere
kWh f Kilowattstunde Kilowattstunden|MWh f Megawattstunde Megawattstunden|A n Ampere|Ω n Ohm
mAh f Milliamperestunde Milliamperestunden|°C n Grad_Celsius|°F n Grad_Fahrenheit|° n Grad
Pa n Pascal|hPa n Hektopascal|kPa n Kilopascal|bar n Bar|kJ n Kilojoule
kcal f Kilokalorie Kilokalorien|dB n Dezibel|px n Pixel|km/h m Kilometer_pro_Stunde
m/s m Meter_pro_Sekunde|MB/s n Megabyte_pro_Sekunde|kB/s n Kilobyte_pro_Sekunde
Mbit/s n Megabit_pro_Sekunde|Gbit/s n Gigabit_pro_Sekunde|m² m Quadratmeter|cm² m Quadratzentimeter
km² m Quadratkilometer|m³ m Kubikmeter|cm³ m Kubikzentimeter|PS f PS
l/100km m Liter_auf_hundert_Kilometer|L/100km m Liter_auf_hundert_Kilometer|g/l n Gramm_pro_Liter
mg/l n Milligramm_pro_Liter
""")
_CURRENCIES = currencies("""
€/EUR m Euro Euro m Cent Cent|$ m Dollar Dollar m Cent Cent
US$/USD m US-Dollar US-Dollar m Cent Cent|£/GBP n Pfund Pfund m Penny Pence
CHF/Fr m Franken Franken m Rappen Rappen|¥/JPY m Yen Yen m Sen Sen
₹/INR f Rupie Rupien m Paisa Paise|CNY m Yuan Yuan m Fen Fen|₿/BTC m Bitcoin Bitcoin m Bit Bit
¢ m Cent Cent m Cent Cent
""")
_MANY = {
    "Mio": "Million/Millionen| ",
    "Mrd": "Milliarde/Milliarden| ",
    "Tsd": "tausend/tausend| ",
} | dict.fromkeys("Million Millionen Milliarde Milliarden Billionen Tausend tausend".split(), " ")
_PARTS = {
    2: ("ein halb", "halbe"),
    3: ("ein Drittel", "Drittel"),
    4: ("ein Viertel", "Viertel"),
    5: ("ein Fünftel", "Fünftel"),
    6: ("ein Sechstel", "Sechstel"),
    8: ("ein Achtel", "Achtel"),
    7: ("ein Siebtel", "Siebtel"),
    9: ("ein Neuntel", "Neuntel"),
    10: ("ein Zehntel", "Zehntel"),
    100: ("ein Hundertstel", "Hundertstel"),
}
_SHORT = any_case("""
z.B. zum Beispiel|d.h. das heißt|u.a. unter anderem|usw. und so weiter|bzw. beziehungsweise
ca. zirka|evtl. eventuell|ggf. gegebenenfalls|inkl. inklusive|zzgl. zuzüglich|exkl. exklusive
vgl. vergleiche|etc. et cetera|o.ä. oder ähnlich|s.o. siehe oben|s.u. siehe unten
u.U. unter Umständen|i.d.R. in der Regel|z.T. zum Teil|u.v.m. und vieles mehr|v.a. vor allem
sog. sogenannte|max. maximal|min. minimal|mind. mindestens|tägl. täglich|v.Chr. vor Christus
n.Chr. nach Christus|Jh. Jahrhundert|bspw. beispielsweise|i.A. im Auftrag|zzt. zurzeit
z.Zt. zurzeit|z.Z. zurzeit|o.g. oben genannte|MwSt. Mehrwertsteuer|geb. geboren|gest. gestorben
Hbf. Hauptbahnhof|allg. allgemein|versch. verschiedene|Mio. Millionen|Mrd. Milliarden|Std. Stunden
Tel. Telefon
""")
_COUNTED = pairs("""
Nr. Nummer|nr. Nummer|S. Seite|Kap. Kapitel|Bd. Band|Abs. Absatz|Art. Artikel|Abb. Abbildung
Tab. Tabelle|Str. Straße|Ziff. Ziffer|Aufl. Auflage|§ Paragraf|§§ Paragrafen|Nrn. Nummern
""")
_TITLES = pairs("""
Dr. Doktor|Prof. Professor|Hr. Herr|Hrn. Herrn|Fr. Frau|St. Sankt|Dipl.-Ing. Diplomingenieur
""")
SHORT = re.compile(rf"(?<![\w.])(?i:{alternatives(_SHORT)})(?!\w)")
COUNTED = re.compile(rf"(?<![\w.])(?:{alternatives(_COUNTED)})(?= ?[0-9])")
TITLE = re.compile(rf"(?<![\w.])(?:{alternatives(_TITLES)})(?= ?[A-ZÄÖÜ])")
STREETS = {"str.": "straße"}
STREET = re.compile(r"(?<=[a-zäöüß])str\.(?!\w)")

ORDINAL = re.compile(r"(?:\b([^\W\d_]{1,12})( ))?(?<![\w.,:])([0-9]{1,3})\.(?=( )([^\W\d_]))")
DECADE = re.compile(r"(?<![\w.,])([0-9]{2,4})er\b")
SHORT_DATE = re.compile(
    r"\b([^\W\d_]{2,8}) (3[01]|[12][0-9]|0?[1-9])\. ?(1[0-2]|0?[1-9])\.(?![0-9]| [0-9])"
)
DAYS = pairs("""
Mo Montag|Di Dienstag|Mi Mittwoch|Do Donnerstag|Fr Freitag|Sa Samstag|So Sonntag
""")
_DAYS = "|".join(DAYS)
WEEKDAYS = re.compile(rf"\b({_DAYS})\.?\s?[-–—]\s?({_DAYS})\b\.?")
ONE_MILLION = re.compile(r"(?<![\w.,])1 (Million|Milliarde)(?:en|n)?\b")
CLOCK = re.compile(
    r"(?<![\w.:,])([01]?[0-9]|2[0-4])[:.]([0-5][0-9])(?::([0-5][0-9]))?\s?(?:Uhr|h)\b"
)
CLOCK_RANGE = re.compile(
    r"(?<![\w.:,])([01]?[0-9]|2[0-4])[:.]([0-5][0-9])(?: Uhr)?(\s?[-–]\s?| bis | und )"
    r"(?=(?:[01]?[0-9]|2[0-4])[:.][0-5][0-9]\s?Uhr\b)"
)
HOURS = re.compile(r"(?<![\w.,])([01]?[0-9]|2[0-4])\s?[-–]\s?(?=(?:[01]?[0-9]|2[0-4]) ?Uhr\b)")
LOCAL = re.compile(
    r"(?<![\w.,+-])0[0-9]{2,5}[ /-][0-9]{2,9}(?:[ -][0-9]{2,8}){0,3}(?![\w]|[.,-][0-9])"
)
FEMININE = (
    "ung",
    "heit",
    "keit",
    "schaft",
    "tion",
    "tät",
    "ik",
    "ur",
    "enz",
    "anz",
    "in",
)
_FEMININES = frozenset(
    "Schwester Tochter Mutter Minute Sekunde Stunde Woche Person Frau Million Milliarde Mal "
    "Seite Tonne Nacht Stadt Zeit Hand Art Zahl Wahl Bank Antwort Fahrt Gruppe Straße Katze "
    "Flasche Tasse Stufe Etage".split()
) - {"Mal"}
_OTHERS = frozenset(
    "Name Ende Auge Junge Kunde Käse Kollege Gedanke Buchstabe Finger Termin Kilo".split()
)


def cardinal(n: int, gender: str = "") -> str:
    """`gender`: "ein" before a masculine or neuter noun, "eine" before a feminine one."""
    if n < 0:
        return f"minus {cardinal(-n, gender)}"
    said = []
    for scale, one, several in SCALES:
        if n >= scale:
            said.append(one if n // scale == 1 else f"{cardinal(n // scale, 'f')} {several}")
            n %= scale
    if n or not said:
        word = _below_million(n)
        if n % 100 == 1:
            word += {"": "s", "f": "e"}.get(gender, "") if n == 1 or not gender else "s"
        said.append(word)
    return " ".join(said)


def _below_million(n: int) -> str:
    """One word, which ends with "ein" where the last two digits are 01."""
    thousands, rest = divmod(n, 1000)
    word = ""
    if thousands:
        word = ("" if thousands == 1 else _below_thousand(thousands, False)) + "tausend"
    return word + (_below_thousand(rest, bool(word)) if rest or not word else "")


def _below_thousand(n: int, inside: bool) -> str:
    hundreds, rest = divmod(n, 100)
    one = "ein" if inside else ""  # tausendeinhundert, but hundert
    word = f"{one if hundreds == 1 else ONES[hundreds]}hundert" if hundreds else ""
    if rest or not word:
        tens, ones = divmod(rest, 10)
        before_tens = f"{ONES[ones]}und" if ones else ""
        word += ONES[rest] if rest < 20 else before_tens + TENS[tens]
    return word


def ordinal(n: int, ending: str) -> str:
    """Dritte, dritten, dritter by `ending`."""
    last = n % 100
    if last in IRREGULAR:
        rest = cardinal(n - last) if n > last else ""
        stem = rest + IRREGULAR[last]
    else:
        stem = cardinal(n) + ("t" if 0 < last < 20 else "st")
    return stem.replace(" ", "").lower() + ending


def ending(before: str) -> str:
    before = before.lower()
    if before in WEAK:
        return "en"
    return "e" if before in ARTICLES - STRONG or before.isalpha() and before not in STRONG else "er"


def year(n: int, after: str = "") -> str:
    """Neunzehnhundertneunzig, zweitausendsechsundzwanzig; before a noun a number of things."""
    hundreds, rest = divmod(n, 100)
    if 11 <= hundreds <= 19 and not after[:1].isupper():
        return f"{ONES[hundreds]}hundert" + (cardinal(rest) if rest else "")
    return cardinal(n, gender_of(after))


def gender_of(word: str) -> str:
    """Of a noun in the singular, by its ending, as well as it goes."""
    if not word[:1].isupper():
        return ""
    if word in _OTHERS:
        return "m"
    return "f" if word in _FEMININES or word.endswith((*FEMININE, "e")) else "m"


def day(n: int, before: str) -> str:
    if before in WEAK:
        return ordinal(n, "en")
    return ordinal(n, "e" if before in ARTICLES - STRONG else "er")


def date(d: int, month: int, in_year: int, before: str) -> str:
    return f"{day(d, before)} {MONTHS[month - 1]}" + (f" {year(in_year)}" if in_year else "")


def clock(hour: int, minute: int, second: int) -> str:
    said = f"{cardinal(hour, 'n')} Uhr" + (f" {cardinal(minute)}" if minute or second else "")
    if not second:
        return said
    return f"{said} und {cardinal(second, 'f')} Sekunde{'n' * (second > 1)}"


def clocks(text: str) -> str:
    """Times with "Uhr", and what else is German in dates: "15.8."."""
    text = SHORT_DATE.sub(_short_date, text)
    text = CLOCK_RANGE.sub(
        lambda m: clock(int(m[1]), int(m[2]), 0) + (m[3] if m[3].strip().isalpha() else " bis "),
        text,
    )
    text = CLOCK.sub(lambda m: clock(int(m[1]), int(m[2]), int(m[3] or 0)), text)
    return HOURS.sub(lambda m: f"{cardinal(int(m[1]), 'n')} bis ", text)


def _short_date(m: Match[str]) -> str:
    if m[1].lower() not in ARTICLES:
        return m[0]
    stop = "" if m.string[m.end() :].strip() else "."
    return f"{m[1]} {date(int(m[2]), int(m[3]), 0, m[1].lower())}{stop}"


def money(units: int, cents: int, unit: Noun, small: Noun) -> str:
    """Drei Euro fünfzig."""
    said = f"{cardinal(units, unit[0])} {unit[1 if units == 1 else 2]}"
    if not units and cents:
        return f"{cardinal(cents, small[0])} {small[1 if cents == 1 else 2]}"
    return f"{said} {cardinal(cents)}" if cents else said


def ordinals(text: str) -> str:
    text = WEEKDAYS.sub(lambda m: f"{DAYS[m[1]]} bis {DAYS[m[2]]}", text)
    text = DECADE.sub(lambda m: f"{year(int(m[1]))}er", text)
    return ORDINAL.sub(_ordinal, ONE_MILLION.sub(r"eine \1", text))


def _ordinal(m: Match[str]) -> str:
    """Behind an article, or before a small letter; else the full stop ends a sentence."""
    before, context = m[1] or "", m.string[max(0, m.start() - 60) : m.start()].split()[-3:]
    if before == "der" and context and context[-1].lower() in DATIVE:
        before = "dem"  # in der dritten Woche
    if before.lower() in ("und", "oder", "bis"):  # im ersten und zweiten Stock
        before = next((word for word in reversed(context) if word.lower() in ARTICLES), before)
    if before.lower() not in ARTICLES and not m[5].islower():
        return m[0]
    return f"{m[1] or ''}{m[2] or ''}{ordinal(int(m[3]), ending(before))}"


def numeral(before: str, n: int, after: str) -> str:
    """Ludwig der Vierzehnte, im neunzehnten Jahrhundert, Kapitel vier."""
    if after == "Jahrhundert":
        return ordinal(n, ending(before) if before else "es")
    if before in ("Kapitel", "Band", "Teil", "Akt", "Typ", "Phase", "Klasse", "Artikel"):
        return cardinal(n)
    if before[:1].isupper() and before in KINGS:
        return (
            f"der {ordinal(n, 'e').capitalize()}"
            if before not in QUEENS
            else (f"die {ordinal(n, 'e').capitalize()}")
        )
    return ""


QUEENS = frozenset("Elisabeth Katharina Maria".split())
KINGS = QUEENS | frozenset(
    "Ludwig Friedrich Wilhelm Heinrich Karl Otto Philipp Napoleon Franz Josef Johannes Paul Pius "
    "Benedikt Alexander Georg Gustav Leopold Leo Rudolf Maximilian Nikolaus Peter Christian".split()
)


LANGUAGE = Language(
    code="de",
    comma=True,
    decimals=False,
    cardinal=cardinal,
    year=year,
    gender_of=gender_of,
    ordinals=ordinals,
    numeral=numeral,
    day=day,
    date=date,
    clock=clock,
    clocks=clocks,
    money=money,
    words=_WORDS,
    month_names=MONTHS,
    telephones=telephones("plus", LOCAL, cardinal),
    units=_UNITS,
    currencies=_CURRENCIES,
    months=months(MONTHS, "jan/jän/jänner feb mär/mrz apr mai jun jul aug sep/sept okt nov dez"),
    many=_MANY,
    parts=_PARTS,
    abbreviations=((COUNTED, _COUNTED), (TITLE, _TITLES), (STREET, STREETS), (SHORT, _SHORT)),
)
