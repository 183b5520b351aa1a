"""Portuguese, with the numbers of Brazil ("dezesseis", "bilhão")."""

from __future__ import annotations

import re

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
    "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze "
    "dezesseis dezessete dezoito dezenove"
).split()
TENS = "zero dez vinte trinta quarenta cinquenta sessenta setenta oitenta noventa".split()
HUNDREDS = (
    "zero cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos "
    "novecentos"
).split()
SCALES = (
    (10**12, "um trilhão", "trilhões"),
    (10**9, "um bilhão", "bilhões"),
    (10**6, "um milhão", "milhões"),
)
FIRST = "zero primeiro segundo terceiro quarto quinto sexto sétimo oitavo nono".split()
TENTHS = (
    "zero décimo vigésimo trigésimo quadragésimo quinquagésimo sexagésimo septuagésimo octogésimo "
    "nonagésimo"
).split()
MONTHS = tuple(
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro "
    "dezembro".split()
)
_WORDS = pairs("""
comma vírgula|point ponto|minus menos|plus mais|times vezes|over dividido por|equals igual a|to a
less menor que|greater maior que|at_most menor ou igual a|at_least maior ou igual a
unequal diferente de|about cerca de|plusminus mais ou menos|infinity infinito|root raiz de
arrow para|and e|percent por cento|permille por mil|section parágrafo|copyright copyright
number número|degrees graus|squared ao quadrado|cubed ao cubo|power elevado a|by por|ratio a
out_of sobre|zero zero|dot ponto|at arroba|slash barra|dash hífen|underscore sublinhado|tilde til
link um link para|version versão|sharp sustenido|hashtag hashtag|dated dia em até desde no do
half e meio|per por|fold vezes|height e|codes pin cep código senha|coins reais dólares euros
""")
_UNITS = nouns("""
km m quilômetro quilômetros|m m metro metros|cm m centímetro centímetros|mm m milímetro milímetros
ha m hectare hectares|kg m quilo quilos|g m grama gramas|mg m miligrama miligramas
µm m micrômetro micrômetros|t f tonelada toneladas|l m litro litros|L m litro litros
ml m mililitro mililitros|mL m mililitro mililitros|cl m centilitro centilitros
s m segundo segundos|seg m segundo segundos|ms m milissegundo milissegundos|min m minuto minutos
h f hora horas|Hz m hertz|kHz m quilohertz|MHz m megahertz|GHz m gigahertz|KB m kilobyte kilobytes
kB m kilobyte kilobytes|MB m megabyte megabytes|GB m gigabyte gigabytes|TB m terabyte terabytes
W m watt watts|kW m quilowatt quilowatts|MW m megawatt megawatts|V m volt volts
kWh m quilowatt-hora quilowatts-hora|A m ampere amperes|mAh m miliampere-hora miliamperes-hora
Ω m ohm ohms|°C m grau_Celsius graus_Celsius|°F m grau_Fahrenheit graus_Fahrenheit|° m grau graus
Pa m pascal pascais|hPa m hectopascal hectopascais|kcal f quilocaloria quilocalorias
dB m decibel decibéis|px m pixel pixels|km/h m quilômetro_por_hora quilômetros_por_hora
m/s m metro_por_segundo metros_por_segundo|MB/s m megabyte_por_segundo megabytes_por_segundo
Mbps m megabit_por_segundo megabits_por_segundo|m² m metro_quadrado metros_quadrados
km² m quilômetro_quadrado quilômetros_quadrados|cm² m centímetro_quadrado centímetros_quadrados
m³ m metro_cúbico metros_cúbicos|cm³ m centímetro_cúbico centímetros_cúbicos
km/l m quilômetro_por_litro quilômetros_por_litro
""")
_CURRENCIES = currencies("""
R$/BRL m real reais m centavo centavos|€/EUR m euro euros m cêntimo cêntimos
$ m dólar dólares m centavo centavos
US$/USD m dólar_americano dólares_americanos m centavo centavos|£/GBP f libra libras m pêni pence
¥/JPY m iene ienes m sen sen|₹/INR f rupia rupias f paisa paisas
CHF m franco_suíço francos_suíços m cêntimo cêntimos|₿/BTC m bitcoin bitcoins m bit bits
""")
_MANY = {
    "milhões": " de ",
    "milhão": " de ",
    "bilhões": " de ",
    "bilhão": " de ",
    "mil": " ",
    "mi": "milhão/milhões| de ",
    "bi": "bilhão/bilhões| de ",
    "trilhões": " de ",
}
_PARTS = {
    2: ("um meio", "meios"),
    3: ("um terço", "terços"),
    4: ("um quarto", "quartos"),
    5: ("um quinto", "quintos"),
    6: ("um sexto", "sextos"),
    7: ("um sétimo", "sétimos"),
    8: ("um oitavo", "oitavos"),
    9: ("um nono", "nonos"),
    10: ("um décimo", "décimos"),
}
_SHORT = any_case("""
p.ex. por exemplo|ex. exemplo|etc. et cetera|aprox. aproximadamente|a.C. antes de Cristo
tel. telefone|d.C. depois de Cristo|S.A. sociedade anônima|máx. máximo|mín. mínimo|vs. contra
obs. observação|Ltda. limitada|dept. departamento|EUA Estados Unidos
""")
_TITLES = pairs("""
Sr. senhor|Sra. senhora|Srta. senhorita|Srs. senhores|Dr. doutor|Dra. doutora|D. dom
Prof. professor|Profa. professora|Profª professora|Eng. engenheiro|Av. avenida|R. rua|Sta. santa
Sto. santo|Pe. padre|Exmo. excelentíssimo
""")
_COUNTED = pairs("""
n.º número|n° número|nº número|Nº número|N.º número|núm. número|p. página|pág. página|págs. páginas
pp. páginas|cap. capítulo|art. artigo|vol. volume|fig. figura|No. número|§ parágrafo
""")
SHORT = re.compile(rf"(?<![\w.])(?i:{alternatives(_SHORT)})(?!\w)")
TITLE = re.compile(rf"(?<![\w.])(?:{alternatives(_TITLES)})(?= ?[A-ZÁÂÃÀÉÊÍÓÔÕÚÇ])")
COUNTED = re.compile(rf"(?<![\w.])(?i:{alternatives(_COUNTED)})(?= ?[0-9])")
ORDINAL = re.compile(r"(?<![\w.,])([0-9]{1,3})\.?(ª|º|°(?= (?:lugar|andar|dia|grau|ano|de|e)\b))")
CLOCK = re.compile(
    r"(?<![\w.:,])([01]?[0-9]|2[0-4])(?::|\s?h\s?)([0-5][0-9])(?:\s?(?:min|h)\b)?(?![\w:]|[.,][0-9])"
)
LOCAL = re.compile(
    r"(?<![\w.,+-])(?:\(?[0-9]{2}\)? ?)?9?[0-9]{4}-[0-9]{4}(?![\w-]|[.,][0-9])|"
    r"(?<![\w.,+-])[0-9]{5}-[0-9]{3}(?![\w-]|[.,][0-9])|"
    r"(?<![\w.,+-])0[0-9]{2,3} [0-9]{3} [0-9]{3,4}(?![\w]|[.,][0-9])|"
    r"(?<![\w.,+-])9[0-9]{2} [0-9]{3} [0-9]{3}(?![\w]|[.,][0-9])"
)
FEMININE = frozenset(
    "colher colheres mulher mulheres mãe mães irmã irmãs manhã manhãs flor flores vez vezes "
    "mão mãos luz luzes voz vozes cor cores dor dores parte partes chave chaves rede redes "
    "torre torres fonte frase frases base bases classe classes fase fases nave naves tarde "
    "tardes série séries".split()
)
MASCULINE = frozenset(
    "dia dias problema problemas programa programas sistema sistemas mapa mapas planeta planetas "
    "tema temas idioma idiomas poema poemas clima climas grama gramas".split()
)
NO_NOUN = frozenset(
    "e ou a o as os à às de da do das dos em na no nas nos com por para que é são foi era "
    "mais menos entre até desde como se não nem mas cada contra sobre já há está estão uma um "
    "vírgula".split()
)


def cardinal(n: int, gender: str = "") -> str:
    """ "Um" and "dois" are "uma" and "duas" before a feminine noun; so are the hundreds."""
    if n < 0:
        return f"menos {cardinal(-n, gender)}"
    rest = n % 10**6
    said = romance.scaled(
        n, SCALES, lambda count: cardinal(count, "m"), lambda below: _below_million(below, gender)
    )
    last = rest // 1000 if rest % 1000 == 0 else rest
    if len(said) > 1 and last and (last < 100 or last % 100 == 0 and last < 1000):
        said[-1] = f"e {said[-1]}"
    return " ".join(said)


def _below_million(n: int, gender: str) -> str:
    thousands, rest = divmod(n, 1000)
    if not thousands:
        return _below_thousand(rest, gender)
    said = "mil" if thousands == 1 else f"{_below_thousand(thousands, gender)} mil"
    if not rest:
        return said
    joint = " e " if rest < 100 or rest % 100 == 0 else " "
    return f"{said}{joint}{_below_thousand(rest, gender)}"


def _below_thousand(n: int, gender: str) -> str:
    if n == 100:
        return "cem"
    hundreds, rest = divmod(n, 100)
    said = []
    if hundreds:
        word = HUNDREDS[hundreds]
        said.append(f"{word[:-2]}as" if gender == "f" and hundreds > 1 else word)
    if rest or not hundreds:
        tens, ones = divmod(rest, 10)
        last = rest if rest < 20 else ones
        feminine = {1: "uma", 2: "duas"} if gender == "f" else {}
        if rest >= 20:
            said.append(TENS[tens])
        if last or not n:
            said.append(feminine.get(last, ONES[last]))
    return " e ".join(said)


def ordinal(n: int, feminine: bool = False) -> str:
    """Primeiro, décima segunda."""
    if not 0 < n < 100:
        return cardinal(n)
    parts = [TENTHS[n // 10]] * (n > 9) + [FIRST[n % 10]] * (n % 10 > 0)
    return " ".join(f"{part[:-1]}a" if feminine else part for part in parts)


def gender_of(word: str) -> str:
    word = word.lower()
    if word in NO_NOUN:
        return ""
    feminine = word.endswith(
        ("a", "as", "ção", "ções", "são", "sões", "dade", "dades", "gem", "gens", "noite", "noites")
    )
    return "f" if (feminine and word not in MASCULINE) or word in FEMININE else "m"


def day(n: int, _before: str) -> str:
    return "primeiro" if n == 1 else cardinal(n)


def date(d: int, month: int, in_year: int, before: str) -> str:
    return f"{day(d, before)} de {MONTHS[month - 1]}" + (
        f" de {cardinal(in_year)}" if in_year else ""
    )


def clock(hour: int, minute: int, second: int) -> str:
    """Quatorze e trinta: the article is in the text."""
    named = cardinal(hour, "f")
    if not minute and not second:
        return f"{named} hora{'s' * (hour != 1)}"
    said = f"{named} e {cardinal(minute)}"
    return said + (f" e {cardinal(second)} segundo{'s' * (second > 1)}" if second else "")


def clocks(text: str) -> str:
    return CLOCK.sub(lambda m: clock(int(m[1]), int(m[2]), 0), text)


def money(units: int, cents: int, unit: Noun, small: Noun) -> str:
    """Três reais e cinquenta centavos."""
    whole, part = romance.priced(units, cents, unit, small, cardinal)
    return " e ".join(filter(None, (whole, part)))


def ordinals(text: str) -> str:
    return ORDINAL.sub(lambda m: ordinal(int(m[1]), m[2] == "ª"), text)


LANGUAGE = Language(
    code="pt",
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
    months=months(MONTHS, "jan fev mar abr mai jun jul ago set out nov dez"),
    units=_UNITS,
    currencies=_CURRENCIES,
    many=_MANY,
    parts=_PARTS,
    telephones=telephones("mais", LOCAL, cardinal),
    abbreviations=((TITLE, _TITLES), (COUNTED, _COUNTED), (SHORT, _SHORT)),
)
