"""Spanish."""

from __future__ import annotations

import re
from re import Match

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
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
    "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro "
    "veinticinco veintiséis veintisiete veintiocho veintinueve"
).split()
TENS = "cero diez veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa".split()
HUNDREDS = (
    "cero ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos "
    "ochocientos novecientos"
).split()
SCALES = ((10**12, "un billón", "billones"), (10**6, "un millón", "millones"))
FIRST = (
    "cero primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo undécimo "
    "duodécimo decimotercero decimocuarto decimoquinto decimosexto decimoséptimo decimoctavo "
    "decimonoveno"
).split()
TENTHS = (
    "cero décimo vigésimo trigésimo cuadragésimo quincuagésimo sexagésimo septuagésimo octogésimo "
    "nonagésimo"
).split()
MONTHS = tuple(
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre".split()
)
_WORDS = pairs("""
comma coma|point punto|minus menos|plus más|times por|over entre|equals igual a|to a|less menor que
greater mayor que|at_most menor o igual que|at_least mayor o igual que|unequal distinto de
about aproximadamente|plusminus más menos|infinity infinito|root raíz de|arrow a|and y
percent por ciento|permille por mil|section sección|copyright copyright|number número
degrees grados|squared al cuadrado|cubed al cubo|power elevado a|by por|ratio a|out_of sobre
zero cero|dot punto|at arroba|slash barra|dash guion|underscore guion bajo|tilde tilde
link un enlace a|version versión|sharp sharp|hashtag almohadilla|dated el del día al desde hasta
half y medio|per por|fold veces|height _|codes pin código postal contraseña clave
coins peso pesos dólares euros
""")
_UNITS = nouns("""
km m kilómetro kilómetros|m m metro metros|cm m centímetro centímetros|mm m milímetro milímetros
ha f hectárea hectáreas|kg m kilo kilos|g m gramo gramos|mg m miligramo miligramos
µm m micrómetro micrómetros|t f tonelada toneladas|l m litro litros|L m litro litros
ml m mililitro mililitros|mL m mililitro mililitros|cl m centilitro centilitros
s m segundo segundos|seg m segundo segundos|ms m milisegundo milisegundos|min m minuto minutos
h f hora horas|hs f hora horas|Hz m hercio hercios|kHz m kilohercio kilohercios
MHz m megahercio megahercios|GHz m gigahercio gigahercios|KB m kilobyte kilobytes
kB m kilobyte kilobytes|MB m megabyte megabytes|GB m gigabyte gigabytes|TB m terabyte terabytes
W m vatio vatios|V m voltio voltios|kW m kilovatio kilovatios|MW m megavatio megavatios
kWh m kilovatio_hora kilovatios_hora|A m amperio amperios|mAh m miliamperio_hora miliamperios_hora
Ω m ohmio ohmios|°C m grado_Celsius grados_Celsius|°F m grado_Fahrenheit grados_Fahrenheit
° m grado grados|Pa m pascal pascales|hPa m hectopascal hectopascales
kcal f kilocaloría kilocalorías|dB m decibelio decibelios|px m píxel píxeles
km/h m kilómetro_por_hora kilómetros_por_hora|m/s m metro_por_segundo metros_por_segundo
MB/s m megabyte_por_segundo megabytes_por_segundo|Mbps m megabit_por_segundo megabits_por_segundo
m² m metro_cuadrado metros_cuadrados|km² m kilómetro_cuadrado kilómetros_cuadrados
cm² m centímetro_cuadrado centímetros_cuadrados|m³ m metro_cúbico metros_cúbicos
cm³ m centímetro_cúbico centímetros_cúbicos
l/100km m litro_cada_cien_kilómetros litros_cada_cien_kilómetros
""")
_CURRENCIES = currencies("""
€/EUR m euro euros m céntimo céntimos|$ m dólar dólares m centavo centavos
US$/USD m dólar_estadounidense dólares_estadounidenses m centavo centavos
MX$/MXN m peso_mexicano pesos_mexicanos m centavo centavos|£/GBP f libra libras m penique peniques
¥/JPY m yen yenes m sen sen|₹/INR f rupia rupias f paisa paisas
CHF m franco_suizo francos_suizos m céntimo céntimos
ARS m peso_argentino pesos_argentinos m centavo centavos
COP m peso_colombiano pesos_colombianos m centavo centavos|₿/BTC m bitcoin bitcoins m bit bits
""")
_MANY = {
    "millones": " de ",
    "millón": " de ",
    "billones": " de ",
    "billón": " de ",
    "mil": " ",
    "M": "millón/millones| de ",
}
_PARTS = {
    2: ("un medio", "medios"),
    3: ("un tercio", "tercios"),
    4: ("un cuarto", "cuartos"),
    5: ("un quinto", "quintos"),
    6: ("un sexto", "sextos"),
    7: ("un séptimo", "séptimos"),
    8: ("un octavo", "octavos"),
    9: ("un noveno", "novenos"),
    10: ("un décimo", "décimos"),
}
_SHORT = any_case("""
p.ej. por ejemplo|etc. etcétera|aprox. aproximadamente|Ud. usted|Uds. ustedes|Vd. usted
Vds. ustedes|EE.UU. Estados Unidos|EEUU Estados Unidos|EE.UU Estados Unidos|a.C. antes de Cristo
d.C. después de Cristo|S.A. sociedad anónima|máx. máximo|mín. mínimo|tel. teléfono|vs. contra
atte. atentamente|dpto. departamento|prov. provincia|incl. incluido|ej. ejemplo
""")
_TITLES = pairs("""
Sr. señor|C/ calle|Sra. señora|Srta. señorita|Sres. señores|Dr. doctor|Dra. doctora|D. don|Dª doña
Dña. doña|Prof. profesor|Lic. licenciado|Ing. ingeniero|Av. avenida|Avda. avenida|Sta. santa
Sto. santo|Pza. plaza|Gral. general|Arq. arquitecto
""")
_COUNTED = pairs("""
n.º número|n° número|nº número|Nº número|N.º número|núm. número|p. página|pág. página|págs. páginas
pp. páginas|cap. capítulo|art. artículo|vol. volumen|fig. figura|c. calle|No. número|§ sección
""")
SHORT = re.compile(rf"(?<![\w.])(?i:{alternatives(_SHORT)})(?!\w)")
TITLE = re.compile(rf"(?<![\w.])(?:{alternatives(_TITLES)})(?= ?[A-ZÁÉÍÓÚÑ])")
COUNTED = re.compile(rf"(?<![\w.])(?i:{alternatives(_COUNTED)})(?= ?[0-9])")
ORDINAL = re.compile(
    r"(?<![\w.,])([0-9]{1,3})\.?(ª|º|er\b|°(?= (?:piso|puesto|lugar|grado|año|curso)\b))"
)
CLOCK = re.compile(
    r"(?<![\w.:,])([01]?[0-9]|2[0-4])(?:[:.h]([0-5][0-9]))\s?(?:h\b|hs\b|hrs\b|horas\b)?"
    r"(?:\s?([ap])\. ?m\.|\s?([apAP])[mM]\b)?(?![\w:%€$]|[.,][0-9])"
)
HOUR = re.compile(r"(?<![\w.:,])(1[0-2]|0?[1-9])(?:\s?([ap])\. ?m\.|\s?([apAP])[mM]\b)(?!\w)")
LOCAL = re.compile(
    r"(?<![\w.,+-])[6-9][0-9]{2}(?: [0-9]{3}){2}(?![\w]|[.,][0-9])|"
    r"(?<![\w.,+-])9[0-9] [0-9]{3} [0-9]{2} [0-9]{2}(?![\w]|[.,][0-9])"
)
FEMININE = frozenset(
    "mano manos vez veces parte partes clase clases mujer mujeres flor flores luz luces voz "
    "voces calle calles llave llaves torre torres fuente fuentes frase frases base bases fase "
    "fases nave naves imagen imágenes tarde tardes nube nubes serie series cruz piel red "
    "redes".split()
)
MASCULINE = frozenset(
    "día días problema problemas programa programas sistema sistemas mapa mapas planeta "
    "planetas tema temas idioma idiomas poema poemas clima climas".split()
)
NO_NOUN = frozenset(
    "y o u e a de del al en con por para que es son fue era más menos entre se la las los el "
    "lo una un hasta desde como si no ni pero cada contra sobre ya hay está están".split()
)


def cardinal(n: int, gender: str = "") -> str:
    """ "Uno" alone is "un" and "una" before a noun."""
    if n < 0:
        return f"menos {cardinal(-n, gender)}"
    said = romance.scaled(
        n, SCALES, lambda count: cardinal(count, "m"), lambda rest: _below_million(rest, gender)
    )
    return " ".join(said)


def _below_million(n: int, gender: str) -> str:
    thousands, rest = divmod(n, 1000)
    before = "" if thousands < 2 else _below_thousand(thousands, gender or "m") + " "
    said = [f"{before}mil"] if thousands else []
    if rest or not said:
        said.append(_below_thousand(rest, gender))
    return " ".join(said)


def _below_thousand(n: int, gender: str) -> str:
    if n == 100:
        return "cien"
    hundreds, rest = divmod(n, 100)
    said = []
    if hundreds:
        said.append(
            HUNDREDS[hundreds].replace("tos", "tas") if gender == "f" else HUNDREDS[hundreds]
        )
    if rest or not hundreds:
        tens, ones = divmod(rest, 10)
        below = ONES[rest] if rest < 30 else TENS[tens] + (f" y {ONES[ones]}" if ones else "")
        if below.endswith("uno"):
            stem = below[:-3]
            below = {"": below, "f": f"{stem}una"}.get(
                gender, f"{stem}ún" if stem == "veinti" else f"{stem}un"
            )
        said.append(below)
    return " ".join(said)


def ordinal(n: int, feminine: bool, short: bool = False) -> str:
    """Primero, primera; `short`: primer."""
    if not 0 < n < 100:
        return cardinal(n)
    said = FIRST[n] if n < 20 else TENTHS[n // 10] + (f" {FIRST[n % 10]}" if n % 10 else "")
    if short:
        return said.removesuffix("o") if said.endswith("ero") else said
    return " ".join(f"{word[:-1]}a" for word in said.split()) if feminine else said


def gender_of(word: str) -> str:
    word = word.lower()
    if word in NO_NOUN:
        return ""
    feminine = word.endswith(
        ("a", "as", "ción", "ciones", "sión", "siones", "dad", "dades", "tud", "noche", "noches")
    )
    return "f" if (feminine and word not in MASCULINE) or word in FEMININE else "m"


def day(n: int, _before: str) -> str:
    return cardinal(n)


def date(d: int, month: int, in_year: int, _before: str) -> str:
    return f"{cardinal(d)} de {MONTHS[month - 1]}" + (f" de {cardinal(in_year)}" if in_year else "")


def clock(hour: int, minute: int, second: int) -> str:
    """Catorce treinta: the article is in the text."""
    named = cardinal(hour, "f")
    if not minute and not second:
        return named if 0 < hour < 13 else f"{named} horas"
    said = f"{named} {'cero ' * (minute < 10)}{cardinal(minute)}"
    return said + (f" y {cardinal(second, 'm')} segundo{'s' * (second > 1)}" if second else "")


def _half(hour: int, half: str) -> str:
    if half.lower() == "a":
        return "de la mañana" if hour < 12 else "de la noche"
    if hour == 12:
        return "del mediodía"
    return "de la tarde" if hour < 8 else "de la noche"


def clocks(text: str) -> str:
    text = CLOCK.sub(_clock, text)
    return HOUR.sub(
        lambda m: f"{cardinal(int(m[1]), 'f')} {_half(int(m[1]), m[2] or m[3])}{_stop(m)}", text
    )


def _stop(m: Match[str]) -> str:
    return "." if m[0].endswith(".") and not m.string[m.end() :].strip() else ""


def _clock(m: Match[str]) -> str:
    hour, half = int(m[1]), m[3] or m[4]
    written = m[0][len(m[1])]
    if written == "." and "h" not in m[0] and not half:
        return m[0]  # 3.50
    said = clock(hour, int(m[2]), 0)
    if half and hour < 13:
        return f"{said} {_half(hour, half)}{_stop(m)}"
    long = m[0].rstrip().endswith(("h", "hs", "hrs", "horas")) and not said.endswith("horas")
    return f"{said} horas" if long else said


def money(units: int, cents: int, unit: Noun, small: Noun) -> str:
    """Tres euros con cincuenta."""
    whole, part = romance.priced(units, cents, unit, small, cardinal)
    return f"{whole} con {cardinal(cents)}" if whole and part else whole or part


def ordinals(text: str) -> str:
    return ORDINAL.sub(lambda m: ordinal(int(m[1]), m[2] == "ª", m[2] == "er"), text)


LANGUAGE = Language(
    code="es",
    comma=True,
    decimals=True,
    cardinal=cardinal,
    gender_of=gender_of,
    ordinals=ordinals,
    year=lambda n, after: cardinal(n, gender_of(after) if after else ""),
    numeral=romance.numerals(ordinal, cardinal, last=10),
    day=day,
    date=date,
    clock=clock,
    clocks=clocks,
    money=money,
    words=_WORDS,
    month_names=MONTHS,
    months=months(MONTHS, "ene feb mar abr may jun jul ago sep/sept/set oct nov dic"),
    units=_UNITS,
    currencies=_CURRENCIES,
    many=_MANY,
    parts=_PARTS,
    telephones=telephones("más", LOCAL, cardinal),
    abbreviations=((TITLE, _TITLES), (COUNTED, _COUNTED), (SHORT, _SHORT)),
)
