"""What is installed, without importing it: `import tensorrt_llm` fails where there is no NVIDIA
driver, as in an image build.

    installed.py version NAME             print the version
    installed.py between NAME LOW BELOW   LOW <= version < BELOW
    installed.py same NAME OTHER          both have the same version (torch and torchaudio)
    installed.py python VERSION           this interpreter is of VERSION, like 3.10
    installed.py pins FILE                whatever FILE pins and is installed has exactly that
                                          version

Exit status 0 or 1; what is wrong goes to stderr in words.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def number(text: str) -> tuple[int, ...]:
    """(2, 2, 2) from "2.2.2+cu121"; what follows the release number does not count.

    Zeros at the end are dropped.
    """
    release = re.match(r"[\d.]*", text.split("+", maxsplit=1)[0])
    parts = [int(part) for part in release.group().split(".") if part] if release else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise SystemExit(
            f"{name} is not installed; run docker/scripts/setup-whisperfusion.sh"
        ) from None


def between(name: str, low: str, below: str) -> str:
    """The version, or SystemExit in words."""
    found = installed(name)
    if not number(low) <= number(found) < number(below):
        raise SystemExit(f"{name} {found} is installed, needed is >={low},<{below}")
    return found


def pins(file: Path) -> dict[str, str]:
    """name -> version of the `name==version` lines of a requirements file."""
    found: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*==\s*([^\s;#]+)", line.strip())
        if match:
            found[match.group(1)] = match.group(2)
    return found


def wrong_pins(file: Path) -> list[str]:
    wrong = []
    for name, wanted in pins(file).items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue  # pinned for another platform, or not wanted here
        if number(found) != number(wanted):
            wrong.append(f"{name} {found} is installed, {file.name} pins {wanted}")
    return wrong


def main(arguments: list[str]) -> int:
    match arguments:
        case ["version", name]:
            print(installed(name))
        case ["between", name, low, below]:
            print(f"{name} {between(name, low, below)}")
        case ["same", name, other]:
            if number(installed(name)) != number(installed(other)):
                raise SystemExit(
                    f"{name} {installed(name)} and {other} {installed(other)} have to be the same "
                    "version"
                )
        case ["python", wanted]:
            if number(wanted) != sys.version_info[:2]:
                raise SystemExit(
                    f"{sys.executable} is Python {sys.version.split()[0]}, needed is {wanted}"
                )
        case ["pins", file]:
            wrong = wrong_pins(Path(file))
            if wrong:
                raise SystemExit("\n".join(wrong))
        case _:
            raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
