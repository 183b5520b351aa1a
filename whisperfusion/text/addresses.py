"""Addresses of every kind in words short enough to listen to: links, e-mail, hosts, files,
telephone numbers, versions, code names.
"""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.numbers import cardinal, digits, integer

LONGEST_PATH = 3  # components that are read; the last ones are the most informative

LINK = re.compile(
    r"(?<![\w@])(?:(?:https?|ftps?|wss?|file)://|www\.(?=[^\W_]))([^\s<>\"'“”‘’`|(){}\[\]]{1,"
    r"2000})(?:\([^\s()]{0,200}\))?"
)
MAIL = re.compile(
    r"(?<![\w.+%@-])(?:mailto:)?([\w.+%-]{1,64})@([a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63}){1,"
    r"6})(?![\w@])"
)
TOP = (
    "com org net edu gov mil int info biz name dev app io ai co uk us eu de fr es it nl be ch "
    "at pl se no fi dk cz pt ie ca au nz jp cn "
    "in br mx ru tv fm gg xyz online site shop blog cloud tech page wiki"
).split()
HOST = re.compile(
    rf"(?<![\w@./-])((?:[a-z0-9](?:[a-z0-9-]{{0,40}})\.){{1,5}}(?:{'|'.join(TOP)}))"
    rf"(?::[0-9]{{2,5}})?((?:/[^\s<>\"'`]{{0,500}})?)(?![\w-]|\.\w)"
)
IP = re.compile(
    r"(?<![\w.])((?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(?:\.(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
    r"){3})(?::([0-9]{2,5}))?(?:/([0-9]{1,2}))?(?![\w]|\.[0-9])"
)
LOCAL = re.compile(r"\blocalhost(?::([0-9]{2,5}))?\b")
VERSION = re.compile(
    r"(?<![\w.])([vV]?)([0-9]{1,5}(?:\.[0-9]{1,5}){2,5})(?:-?(alpha|beta|rc|dev|post)"
    r"\.?([0-9]{0,3}))?(?![\w]|\.[0-9])"
)
SHORT_VERSION = re.compile(r"(?<![\w.])[vV]([0-9]{1,4}(?:\.[0-9]{1,5})?)(?![\w.]|\.[0-9])")

WORDS = set(
    "zip json yaml toml lock log bin bat bash conf env sock wave text doc rust go java swift "
    "dot net core social".split()
)
EXTENSIONS = set(
    "ts tsx js jsx mjs py pyi ipynb rb rs go java kt swift c h cc cpp hpp cs php pl sh bash zsh "
    "bat ps1 sql html htm css scss xml json jsonl yaml yml toml "
    "ini cfg conf env lock log md rst txt csv tsv pdf doc docx xls xlsx ppt pptx odt rtf tex "
    "epub png jpg jpeg gif svg webp bmp ico mp3 mp4 wav ogg "
    "flac m4a mov avi mkv webm zip tar gz bz2 xz rar iso exe dll so dmg deb rpm apk jar war whl "
    "onnx pt gguf bin db sqlite bak tmp".split()
)
NAMES = {
    "src": "source",
    "tmp": "temp",
    "usr": "user",
    "lib": "lib",
    "config": "config",
    "docs": "docs",
    "dev": "dev",
    "var": "var",
    "api": "API",
    "app": "app",
    "bin": "bin",
    "etc": "etsy",
    "opt": "opt",
    "www": "WWW",
}
PATH = re.compile(
    r"(?<![\w/.:@])((?:[A-Za-z]:[\\/]|~/|\.{1,2}/|/)?"
    r"(?:[\w.@+-]{1,64}[\\/]){1,12}[\w.@+-]{0,64}[\w+])/?(?![\w/\\])"
)
ROOTED = re.compile(r"(?<![\w/.:@<])((?:~/|/)[\w.@+-]{1,64}(?:/[\w.@+-]{1,64}){0,12})/?(?![\w/])")
_EXTENSION = "|".join(sorted(EXTENSIONS, key=len, reverse=True))
FILE = re.compile(
    rf"(?<![\w./@-])(\.?[\w-]{{1,64}}(?:\.[\w-]{{1,20}}){{0,3}}\.(?:{_EXTENSION}))(?![\w]|\.\w)"
)
DOT_NAME = re.compile(
    r"(?<![\w.])\.(NET|env|gitignore|bashrc|zshrc|dockerignore|npmrc|vimrc)\b|(?<=[A-Z]{3})"
    r"\.(NET)\b"
)
DOT_JS = re.compile(r"\b([A-Z][a-z]{1,12}|[a-z]{2,12})\.(js|io|ai)\b")
SHARP = re.compile(r"(?<![\w#])([A-GJ])[#♯](m?)(?![\w#])")
FLAT = re.compile(r"(?<![\w♭])([A-G])♭(m?)(?!\w)")
PLUSES = re.compile(r"(?<![\w+])([CcGg]|Notepad|gcc|clang)\+\+(?!\+)")
HASHTAG = re.compile(r"(?<![\w&#/])#([^\W\d_]\w{0,80})")
HASH_NUMBER = re.compile(r"(?<![\w&#])#\s?(?=[0-9])")
MENTION = re.compile(r"(?<![\w.@/])@([^\W\d_][\w.-]{0,60}\w|[^\W\d_])(?![@])")
CALL = re.compile(r"\b([^\W\d]\w{1,60})\(\)")
SNAKE = re.compile(r"(?<=\w)_+(?=\w)")
HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-zA-Z])(?=[0-9])|_")

INTERNATIONAL = re.compile(
    r"(?<![\w+])\+([0-9]{1,3})(?=[ .(-])((?:[ .-]?\(?[0-9]{1,4}\)?(?=[ .()-]|(?![\w]))){2,7})"
    r"(?![\w]|[.-][0-9])"
)
WHOLE_INTERNATIONAL = re.compile(r"(?<![\w+])\+([0-9]{8,15})(?![\w])")
TELEPHONE = re.compile(
    r"(?<![\w.+-])(?:(1)[ .-]?)?(?:\(([0-9]{3})\)[ .-]?|([0-9]{3})[.-])?([0-9]{3})[-.]([0-9]{4})"
    r"(?![\w]|[.-][0-9])"
)
SPACED_TELEPHONE = re.compile(
    r"(?<![\w.+-])(?:(1) )?([0-9]{3}) ([0-9]{3}) ([0-9]{4})(?![\w]|[.-][0-9])"
)
GROUPED = re.compile(
    r"(?<![\w.,-])[0-9]{4}(?:[ -][0-9]{4}){2,4}(?![\w]|[.,-][0-9])|(?<![\w.,-])"
    r"[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])"
)
LEADING_ZERO = re.compile(
    r"(?<![\w.,+-])0[0-9]{2,5}(?: [0-9]{3,4}){1,3}(?![\w]|[.,-][0-9]| [0-9])|"
    r"(?<![\w.,+-])0[0-9]{3,4} [0-9]{6}(?![\w]|[.,-][0-9])"
)
HYPHENED = re.compile(r"(?<![\w.,-])[0-9]{1,7}(?:-[0-9]{1,7}){2,6}(?![\w]|[.,-][0-9]|-)")
VANITY = re.compile(r"(?<![\w-])1-(8[0-9]{2})-(?=[A-Z]{3})")
EXTENSION = re.compile(r"(?<=[a-z]),? (?:ext\.?|x) ?(?=[0-9])")

# Parts of a match.
_SIGNS = re.compile(r"([-_+%~])")
_ROWS = re.compile(r"([0-9]+)")
_AFTER_HOST = re.compile(r"[/?#:]")
_SLASHES = re.compile(r"[\\/]")
_JOINTS = re.compile(r"[-_@+.]+")
_CONSONANTS = re.compile(r"[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{1,5}")


def spelled(word: str) -> str:
    """A short name as people read it: as a word if it is pronounceable, else its letters."""
    plain = word.lower()
    if plain in NAMES:
        return NAMES[plain]
    if word.isdigit():
        return integer(word)
    sounds = any(c in "aeiouy" for c in plain) and any(c not in "aeiouy" for c in plain)
    if plain in WORDS or plain in (
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "info",
        "app",
        "name",
        "online",
        "site",
        "shop",
        "blog",
        "cloud",
        "tech",
        "page",
    ):
        return plain
    if len(word) <= 2 or (len(word) <= 4 and not sounds and word.isascii() and word.isalpha()):
        return word.upper()
    return word


def _parts(name: str) -> str:
    """A label between two dots of an address."""
    parts = []
    for part in _SIGNS.split(name):
        sign = {"-": "dash", "_": "underscore", "+": "plus", "%": "percent", "~": "tilde"}.get(part)
        if sign:
            parts.append(sign)
            continue
        for piece in filter(None, _ROWS.split(part)):
            parts.append(integer(piece) if piece[0] in "0123456789" else piece)
    return " ".join(parts)


def host(name: str) -> str:
    """Example dot com; U K at the end of a British one."""
    *names, top = name.removeprefix("www.").rstrip(".").split(".")
    if not names:
        return _parts(top)
    return " dot ".join((*map(_parts, names), spelled(top) if top.isascii() else top))


def links(text: str, english: bool = True) -> str:
    """Links as their target in words. `english` False: as the bare host name."""
    text = LINK.sub(lambda m: _link(m, english), text)
    if not english:
        return text
    text = MAIL.sub(
        lambda m: (
            f"{' dot '.join(_parts(part) for part in m[1].strip('.').split('.') if part)} "
            f"at {host(m[2])}"
        ),
        text,
    )
    return HOST.sub(_bare_host, text)


def _link(m: Match[str], english: bool) -> str:
    address = m[0].rstrip(".,;:!?*_~—–…»")
    after = m[0][len(address) :]
    name = _AFTER_HOST.split(address.partition("://")[2] or address, maxsplit=1)[0].rpartition("@")[
        2
    ]
    name = name.removeprefix("www.")
    if not english:
        return name + after
    if not name:
        return "a link" + after
    return f"a link to {_ip_octets(name) if IP.fullmatch(name) else host(name)}{after}"


def _bare_host(m: Match[str]) -> str:
    name, path = m[1], m[2].rstrip(".,;:!?*_~")
    after = m[2][len(path) :]
    return (f"a link to {host(name)}" if len(path) > 1 else host(name)) + after


def _octet(text: str) -> str:
    n = int(text)
    if n < 100 or n % 100 == 0:
        return cardinal(n)
    return f"{cardinal(n // 100)} {'oh ' if n % 100 < 10 else ''}{cardinal(n % 100)}"


def _ip_octets(text: str) -> str:
    return " dot ".join(map(_octet, text.split(".")))


def machines(text: str) -> str:
    """IP addresses, and versions with two points and more."""
    text = IP.sub(_ip, text)
    text = LOCAL.sub(lambda m: f"localhost port {digits(m[1])}" if m[1] else m[0], text)
    text = VERSION.sub(_version, text)
    return SHORT_VERSION.sub(
        lambda m: f"version {' point '.join(map(integer, m[1].split('.')))}", text
    )


def _ip(m: Match[str]) -> str:
    if m[1].count(".") != 3:
        return m[0]
    port, block = (
        f" port {digits(m[2])}" if m[2] else "",
        f" slash {cardinal(int(m[3]))}" if m[3] else "",
    )
    return _ip_octets(m[1]) + port + block


def _version(m: Match[str]) -> str:
    words = ("version " if m[1] else "") + " point ".join(integer(part) for part in m[2].split("."))
    if m[3]:
        words += f" {'RC' if m[3] == 'rc' else m[3]}" + (f" {integer(m[4])}" if m[4] else "")
    return words


def files(text: str) -> str:
    """Paths, file names and identifiers of programs."""
    text = DOT_NAME.sub(
        lambda m: f" dot {'net' if (m[1] or m[2]) == 'NET' else spelled(m[1])}", text
    )
    text = PATH.sub(_path, text)
    text = ROOTED.sub(
        lambda m: _path(m) if "." in m[1] or m[1].count("/") > 1 or m[1].startswith("~") else m[0],
        text,
    )
    text = FILE.sub(lambda m: _file(m[1]), text)
    text = DOT_JS.sub(lambda m: f"{m[1]} dot {spelled(m[2])}", text)
    text = CALL.sub(lambda m: HUMPS.sub(" ", m[1]), text)
    return SNAKE.sub(" ", text)


def _path(m: Match[str]) -> str:
    path = m[1]
    parts = [part for part in _SLASHES.split(path) if part not in ("", ".", "..", "~")]
    rooted = path[0] in "/~." or path[1:2] == ":" or "\\" in path
    extension = parts[-1].rpartition(".")[2].lower() if parts and "." in parts[-1] else ""
    if not (rooted or extension in EXTENSIONS or len(parts) > 3):
        return m[0]  # "and/or"
    return " slash ".join(_file(part) for part in parts[-LONGEST_PATH:])


def _file(name: str) -> str:
    first, *rest = [part for part in name.split(".") if part] or [""]
    named = NAMES.get(first.lower()) or _JOINTS.sub(" ", HUMPS.sub(" ", first)).strip()
    if _CONSONANTS.fullmatch(named):
        named = named.upper() if len(named) > 1 else named
    if len(named) > 3 and named.isupper():
        named = named.lower()
    hidden = "dot " if name.startswith(".") else ""
    return hidden + " dot ".join(
        (
            _ROWS.sub(lambda m: f" {integer(m[0])}", named).strip(),
            *(_ending(part) for part in rest),
        )
    )


def _ending(part: str) -> str:
    letters = (
        part.lower() not in WORDS
        and part.isalnum()
        and len(part) <= 5
        and part.lower() in EXTENSIONS
    )
    if not letters:
        return _parts(part)
    return " ".join(
        integer(piece) if piece.isdigit() else piece.upper()
        for piece in filter(None, _ROWS.split(part))
    )


def signs(text: str) -> str:
    """C#, C++, hashtags, mentions."""
    text = SHARP.sub(lambda m: f"{m[1]} sharp{' minor' * bool(m[2])}", text)
    text = PLUSES.sub(lambda m: f"{m[1]} plus plus", text)
    text = HASHTAG.sub(lambda m: f"hashtag {' '.join(HUMPS.sub(' ', m[1]).split())}", text)
    text = HASH_NUMBER.sub("number ", text)
    return MENTION.sub(lambda m: f"at {_JOINTS.sub(' ', m[1])}", text)


def telephones(text: str) -> str:
    """Telephone, card and other grouped numbers, group by group."""
    text = INTERNATIONAL.sub(lambda m: f"plus {_groups(m[1] + ' ' + m[2])}", text)
    text = WHOLE_INTERNATIONAL.sub(
        lambda m: f"plus {', '.join(digits(m[1][at : at + 3]) for at in range(0, len(m[1]), 3))}",
        text,
    )
    text = TELEPHONE.sub(lambda m: _groups(" ".join(filter(None, m.groups()))), text)
    text = SPACED_TELEPHONE.sub(lambda m: _groups(" ".join(filter(None, m.groups()))), text)
    for pattern in (GROUPED, LEADING_ZERO, HYPHENED):
        text = pattern.sub(lambda m: _groups(m[0]), text)
    text = VANITY.sub(lambda m: f"one, {integer(m[1])}, ", text)
    return EXTENSION.sub(", extension ", text)


def _groups(text: str) -> str:
    return ", ".join(digits(group) for group in _ROWS.findall(text))
