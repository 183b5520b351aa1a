"""Addresses, versions and names of programs in words."""

from __future__ import annotations

from re import Match

from whisperfusion.text.addresses import (
    CALL,
    HASH_NUMBER,
    HASHTAG,
    HOST,
    HUMPS,
    IP,
    LINK,
    MAIL,
    MENTION,
    PLUSES,
    SHARP,
    SHORT_VERSION,
    SNAKE,
    VERSION,
)
from whisperfusion.text.verbalizers.language import Numerate, integer

# Letters by which people read the end of a host.
WORDS = frozenset("com org net info app online blog edu gov".split())
ENDS = ".,;:!?*_~—–…»”\"'"
PARTS = {"-": "dash", "_": "underscore", "+": "plus", "%": "percent", "~": "tilde"}


def links(text: str, language: Numerate) -> str:
    """Links as their target, mail addresses and bare hosts, in words."""
    if "://" in text or "www." in text:
        text = LINK.sub(lambda m: _link(m, language), text)
    if "@" in text:
        text = MAIL.sub(
            lambda m: f"{_dotted(m[1], language)} {language.words['at']} {host(m[2], language)}",
            text,
        )
    return HOST.sub(lambda m: _bare_host(m, language), text) if "." in text else text


def _link(m: Match[str], language: Numerate) -> str:
    address = m[0].rstrip(ENDS)
    after = m[0][len(address) :]
    name = address.partition("://")[2] or address
    for mark in "/?#":
        name = name.partition(mark)[0]
    name = name.rpartition("@")[2].partition(":")[0].removeprefix("www.")
    target = host(name, language) if name else ""
    return f"{language.words['link']} {target}".rstrip() + after


def _bare_host(m: Match[str], language: Numerate) -> str:
    name, path = m[1], m[2].rstrip(ENDS)
    after = m[2][len(path) :]
    return (f"{language.words['link']} " if len(path) > 1 else "") + host(name, language) + after


def host(name: str, language: Numerate) -> str:
    """Each label, and the word for the dot between; an end of two letters is spelled."""
    *labels, top = name.removeprefix("www.").rstrip(".").split(".")
    end = top.upper() if len(top) == 2 and top.isascii() else top
    return f" {language.words['dot']} ".join((*(_label(one, language) for one in labels), end))


def _dotted(name: str, language: Numerate) -> str:
    labels = [part for part in name.strip(".").split(".") if part]
    return f" {language.words['dot']} ".join(_label(one, language) for one in labels)


def _label(name: str, language: Numerate) -> str:
    said, digits = [""], ""
    for c in f"{name} ":
        if c in "0123456789":
            digits += c
            continue
        if digits:
            said += [f" {integer(digits, language)} "]
            digits = ""
        said += [f" {language.words[PARTS[c]]} " if c in PARTS else c]
    return " ".join("".join(said).split())


def machines(text: str, language: Numerate) -> str:
    """IP addresses, and versions with two points and more."""
    if text.count(".") >= 3:
        text = IP.sub(lambda m: m[0].replace(m[1], _points(m[1], language)), text)
    text = VERSION.sub(
        lambda m: (
            f"{_version(m, language)}{f' {m[3]}' if m[3] else ''}"
            f"{f' {integer(m[4], language)}' if m[4] else ''}"
            if not _is_date_or_amount(m[2])
            else m[0]
        ),
        text,
    )
    return SHORT_VERSION.sub(
        lambda m: f"{language.words['version']} {_points(m[1], language)}", text
    )


def _version(m: Match[str], language: Numerate) -> str:
    return (f"{language.words['version']} " if m[1] else "") + _points(m[2], language)


def _is_date_or_amount(text: str) -> bool:
    """3.10.2026, 1.234.567"""
    first, *others = text.split(".")
    date = len(others) == 2 and len(others[1]) == 4 and int(first) <= 31 and int(others[0]) <= 31
    return date or (len(first) <= 3 and all(len(part) == 3 for part in others))


def _points(text: str, language: Numerate) -> str:
    return f" {language.words['point']} ".join(integer(part, language) for part in text.split("."))


def names(text: str, language: Numerate) -> str:
    """C#, C++, hashtags, mentions, identifiers of programs."""
    if "#" in text:
        text = SHARP.sub(lambda m: f"{m[1]} {language.words['sharp']}", text)
        text = HASHTAG.sub(
            lambda m: f"{language.words['hashtag']} {' '.join(HUMPS.sub(' ', m[1]).split())}", text
        )
        text = HASH_NUMBER.sub(f"{language.words['number']} ", text)
    text = PLUSES.sub(lambda m: f"{m[1]} {' '.join([language.words['plus']] * 2)}", text)
    if "@" in text:
        text = MENTION.sub(lambda m: f"{language.words['at']} {m[1].replace('_', ' ')}", text)
    if "(" in text:
        text = CALL.sub(lambda m: HUMPS.sub(" ", m[1]), text)
    return SNAKE.sub(lambda m: m[0] if _between_digits(m) else " ", text)


def _between_digits(m: Match[str]) -> bool:
    """The mark between thousands."""
    return m.string[m.start() - 1].isdigit() and m.string[m.end()].isdigit()
