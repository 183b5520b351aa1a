"""The rules of text normalization for Chinese and Japanese, which put no spaces between words.

Numbers are written in Chinese characters, which every voice of these languages reads. What differs
is in `zh` and `ja`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from re import Match

from whisperfusion.text.arithmetic import LOWERED, PLUS, RAISED, SUPERSCRIPTS, VULGAR
from whisperfusion.text.verbalizers.links import links, names
from whisperfusion.text.verbalizers.rules import cleaned, grouped, tidy

NUM = r"[0-9]{1,3}(?:_[0-9]{3}){1,9}(?:\.[0-9]{1,20})?|[0-9]{1,40}(?:\.[0-9]{1,20})?"
WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
PLAIN = {"．": ".", "：": ":", "／": "/", "－": "-", "，": ",", "〜": "~", "～": "~"}
WIDE_MARK = re.compile("(?<=[0-9])[．：／－〜～](?=[0-9])|(?<=[0-9])，(?=[0-9]{3}(?![0-9]))")
SPACE = re.compile(rf"(?<=[{WIDE}]) (?=[0-9$€£¥])|(?<=[0-9%]) (?=[{WIDE}])")
_MONTH, _DAY = r"(1[0-2]|0?[1-9])", r"(3[01]|[12][0-9]|0?[1-9])"
DATE = re.compile(
    rf"(?<![a-zA-Z0-9./-])([12][0-9]{{3}})([-/.]){_MONTH}\2{_DAY}"
    rf"(?:T(?=[0-9]{{2}}:)|(?![a-zA-Z0-9/-]|\.[0-9]))"
)
YEAR = re.compile(r"(?<![0-9.,_])([0-9]{4})(?=年(?!间|間|前|后|後|级|級))")
CLOCK = re.compile(
    r"(上午|下午|晚上|早上|凌晨|中午|午前|午後|朝|夜|深夜)?(?<![0-9.:])([01]?[0-9]|2[0-4]):([0-5][0-9])(?::([0-5][0-9]))?(?![0-9:])"
)
FRACTION = re.compile(r"(?<![a-zA-Z0-9./])([0-9]{1,4})[/⁄]([0-9]{1,4})(?![0-9a-zA-Z/]|\.[0-9])")
MIXED = re.compile(rf"(?:(?<![0-9.,_])([0-9]{{1,6}})\s?)?([{''.join(VULGAR)}])")
_BEFORE = r"(?<![a-zA-Z0-9_.,])"
PERCENT = re.compile(rf"{_BEFORE}({NUM})(?:%?\s?[-–—~]\s?({NUM}))?\s?([%‰])")
_SIGN = r"(?:US|HK|NT|RMB|CN)?[$¥]|[€£₹₩₽₿]|RMB|CNY|USD|EUR|JPY|GBP"
MONEY_BEFORE = re.compile(rf"(?<![a-zA-Z$€£¥])({_SIGN})\s?({NUM})([万萬億亿兆]?)(?![0-9])")
MONEY_AFTER = re.compile(rf"{_BEFORE}({NUM})([万萬億亿兆]?)\s?({_SIGN})(?![a-zA-Z0-9])")
MEASURE = re.compile(
    rf"(?:(?<![a-zA-Z0-9)-])-)?{_BEFORE}({NUM})(?:(\s?[-–—~]\s?)({NUM}))?\s?"
    rf"([a-zA-Zµμ]{{1,5}}[²³]?(?:/[a-zA-Z]{{1,3}}[²³]?)?|°[CF]?)(?![a-zA-Z0-9²³°/])"
)
RANGE = re.compile(rf"{_BEFORE}({NUM})\s?[-–—~]\s?({NUM})(?![a-zA-Z0-9%]|[-–.,]?[0-9]|-|\s?=)")
RATIO = re.compile(r"(?<![0-9.:])([0-9]{1,4}):([0-9]{1,4})(?![0-9:])")
TELEPHONE = re.compile(
    r"(?<![a-zA-Z0-9.,+-])(?:\+[0-9]{1,3}[ -])?(?:\(?0[0-9]{1,4}\)?[ -]?[0-9]{1,4}-[0-9]{4}|"
    r"0[0-9]{2,3}-[0-9]{7,8}|1[3-9][0-9](?:[ -]?[0-9]{4}){2}|[0-9]{2,4}-[0-9]{3,4}-[0-9]{4})"
    r"(?![0-9-])"
)
CLOCK_RANGE = re.compile(r"(:[0-5][0-9])\s?[-–—~〜～]\s?(?=[0-9]{1,2}:[0-5][0-9])")
YEARS = re.compile(
    r"(?<![a-zA-Z0-9.,_-])([12][0-9]{3})\s?[-–—~]\s?([12][0-9]{3})(?![a-zA-Z0-9.年-])"
)
HYPHENED = re.compile(
    r"(?<![a-zA-Z0-9.,-])(?:[0-9]{1,7}(?:-[0-9]{1,7}){2,6}|[0-9]{3}-0[0-9]{3})"
    r"(?![a-zA-Z0-9-]|\.[0-9])"
)
CODE = re.compile(
    r"(邮编|邮政编码|密码|验证码|编号|车牌号|航班号|暗証番号|郵便番号|パスワード)"
    r"([是为は：:]?\s?)([0-9]{3,12})(?![0-9])"
)
NAMED = re.compile(r"(?<![a-zA-Z0-9-])([A-Z]{1,3})([0-9]{3,5})(?![a-zA-Z0-9.,])")
ROWS = re.compile("[0-9]+")
MINUS = re.compile(
    r"(?<=[0-9)]) ?[-–] ?(?=[0-9]{1,15}(?:\.[0-9]{1,9})?\s?=)|(?<=[0-9)]) [-–] (?=[0-9(])"
)
PER = re.compile(rf"(?<=[元円])/(?=[{WIDE}])")
NEGATIVE = re.compile(r"(?<![a-zA-Z0-9)%-])-(?=[0-9])")
LINK = re.compile(
    r"(?:https?://|www\.)[!-~]{1,2000}|(?<![!-~])[a-zA-Z][\w.+-]{0,64}@[!-~]{1,200}|"
    r"(?<![!-~])[a-z0-9][a-z0-9-]{0,40}\.[a-z][!-~]{1,200}",
    re.ASCII,
)
VERSION = re.compile(
    r"(?<![a-zA-Z0-9.])[vV]?([0-9]{1,5}(?:\.[0-9]{1,5}){2,5})(?![a-zA-Z0-9]|\.[0-9])"
)
SPACED_MARK = re.compile(" (?=[，。；：！？、）」』】》])")
APART = re.compile(rf"(?<=[{WIDE}]) (?=[{WIDE}])")  # a pause that the writer made
MULTIPLIED = re.compile(r"(?<=[\w)])\s?[×·⋅]\s?(?=[0-9(a-z])|(?<=[0-9)])\s?\*\s?(?=[0-9(a-z])")
OVER = re.compile(r"(?<=[0-9)])\s?÷\s?(?=[0-9(])|(?<=[0-9)])\s/\s(?=[0-9(])")
SIGNS = {
    "≤": "at_most",
    "≥": "at_least",
    "≠": "unequal",
    "≈": "about",
    "=": "equals",
    "±": "plusminus",
    "∞": "infinity",
    "√": "root",
    "→": "arrow",
    "×": "times",
    "÷": "over",
    "&": "and",
    "%": "percent",
    "§": "section",
    "©": "copyright",
    "№": "number",
    "°": "degrees",
    "+": "plus",
    "<": "less",
    ">": "greater",
}
NUMBER = re.compile(rf"({NUM})(?=(.{{0,2}}))")


@dataclass(frozen=True)
class Unspaced:
    """`cardinal` gets what follows the number, up to two characters. `clock`: (part of the day or
    "", hour, minute, second or 0). `money`: (digits, "万" and the like, name of the currency).
    """

    code: str
    cardinal: Callable[[int, str], str]
    row: Callable[[str], str]  # digit by digit
    spoken_row: Callable[[str], str]  # of a telephone number
    year: Callable[[str], str]
    clock: Callable[[str, int, int, int], str]
    money: Callable[[str, str, str], str]
    fraction: str  # "{below}分之{above}"
    named_rows: bool  # digits behind capital letters are read one by one
    percent: str
    permille: str
    words: Mapping[str, str]
    units: Mapping[str, str]
    currencies: Mapping[str, str]


def verbalized(text: str, language: Unspaced) -> str:
    """`text` in words, by one pass of the rules."""
    text = cleaned(text)
    divided = APART.search(text) is not None
    text = links(LINK.sub(r" \g<0> ", text), language)
    text = SPACE.sub("", WIDE_MARK.sub(lambda m: PLAIN[m[0]], text.replace("￥", "¥")))
    text = DATE.sub(
        lambda m: (
            f"{language.year(m[1])}年{language.cardinal(int(m[3]), '月')}月"
            f"{language.cardinal(int(m[4]), '日')}日"
        ),
        text,
    )
    text = CLOCK_RANGE.sub(rf"\1{language.words['to']}", text)
    text = YEARS.sub(
        lambda m: f"{language.year(m[1])}{language.words['to']}{language.year(m[2])}", text
    )
    text = VERSION.sub(lambda m: _dotted(m[1], language), text)
    for pattern in (TELEPHONE, HYPHENED):
        text = pattern.sub(lambda m: _telephone(m, language), text)
    text = CODE.sub(lambda m: f"{m[1]}{m[2]}{language.spoken_row(m[3])}", text)
    if language.named_rows:
        text = NAMED.sub(lambda m: m[1] + language.spoken_row(m[2]), text)
    text = CLOCK.sub(
        lambda m: language.clock(m[1] or "", int(m[2]), int(m[3]), int(m[4] or 0)), text
    )
    text = grouped(YEAR.sub(lambda m: language.year(m[1]), text), comma=False)
    text = _amounts(text, language)
    text = _operators(names(text, language), language)
    text = tidy(NUMBER.sub(lambda m: _counted(m, language), text))
    return SPACED_MARK.sub("", text if divided else APART.sub("", text))


def number(text: str, language: Unspaced, after: str = "") -> str:
    """A number as `NUM` has it."""
    whole, point, rest = text.partition(".")
    digits = whole.replace("_", "")
    long = len(digits) >= 7 and not digits.endswith("000") and "_" not in whole
    if len(digits) > 15 or long or (len(digits) > 1 and digits[0] == "0"):
        said = language.row(digits)
    else:
        said = language.cardinal(int(digits), "" if point else after)
    return f"{said}{language.words['point']}{language.row(rest)}" if point else said


def _counted(m: Match[str], language: Unspaced) -> str:
    ranked = m.string[max(0, m.start() - 1) : m.start()] == "第"
    return number(m[1], language, "" if ranked else m[2])


def _dotted(text: str, language: Unspaced) -> str:
    """Versions and IP addresses, digit by digit."""
    return language.words["point"].join(map(language.row, text.split(".")))


def _telephone(m: Match[str], language: Unspaced) -> str:
    plus = language.words["plus"] if m[0][0] == "+" else ""
    return plus + language.words["pause"].join(map(language.spoken_row, ROWS.findall(m[0])))


def _amounts(text: str, language: Unspaced) -> str:
    text = MONEY_BEFORE.sub(
        lambda m: language.money(m[2], m[3], language.currencies.get(m[1], m[1])), text
    )
    text = MONEY_AFTER.sub(
        lambda m: language.money(m[1], m[2], language.currencies.get(m[3], m[3])), text
    )
    text = MEASURE.sub(lambda m: _measure(m, language), text)
    text = PER.sub(language.words["per"], text)
    text = NEGATIVE.sub(language.words["negative"], text)
    text = PERCENT.sub(lambda m: _percent(m, language), text)
    text = FRACTION.sub(lambda m: fraction(int(m[1]), int(m[2]), language), text)
    return MIXED.sub(lambda m: _mixed(m, language), text)


def _percent(m: Match[str], language: Unspaced) -> str:
    form = language.percent if m[3] == "%" else language.permille
    last = form.format(number(m[2] or m[1], language))
    if m[2] and form.startswith("{}"):
        return f"{number(m[1], language)}{language.words['to']}{last}"
    return f"{form.format(number(m[1], language))}{language.words['to']}{last}" if m[2] else last


def _measure(m: Match[str], language: Unspaced) -> str:
    unit = language.units.get(m[4].replace("μ", "µ"))
    if unit is None:
        return m[0]
    minus = language.words["negative"] if m[0][0] == "-" else ""
    first = f"{minus}{number(m[1], language)}{language.words['to']}" if m[3] else ""
    last = ("" if m[3] else minus) + number(m[3] or m[1], language, unit)
    return first + (f"{unit[1:]}{last}度" if unit[0] == "^" else last + unit)


def fraction(above: int, below: int, language: Unspaced) -> str:
    return language.fraction.format(
        above=language.cardinal(above, ""), below=language.cardinal(below, "")
    )


def _mixed(m: Match[str], language: Unspaced) -> str:
    part = fraction(*VULGAR[m[2]], language)
    return f"{number(m[1], language)}{language.words['mixed']}{part}" if m[1] else part


def _operators(text: str, language: Unspaced) -> str:
    words = language.words
    text = RAISED.sub(lambda m: _raised(m, language), text.translate(LOWERED))
    text = RANGE.sub(lambda m: f"{m[1]}{words['to']}{m[2]}", MINUS.sub(words["minus"], text))
    text = RATIO.sub(lambda m: f"{m[1]}{words['ratio']}{m[2]}", text)
    text = PLUS.sub(words["plus"], OVER.sub(words["over"], MULTIPLIED.sub(words["times"], text)))
    for sign, word in SIGNS.items():
        if sign in text:
            text = text.replace(f" {sign} ", sign).replace(sign, words[word])
    return text


def _raised(m: Match[str], language: Unspaced) -> str:
    power = (m[1] or "").translate(SUPERSCRIPTS) or m[2] or m[3] or m[4]
    minus, rest = (language.words["negative"], power[1:]) if power[:1] in "-+" else ("", power)
    said = number(rest, language) if rest.isascii() and rest.isdigit() else rest
    return language.words["power"].format(f"{minus}{said}")
