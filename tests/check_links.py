"""`make check-links`: whether everything that an installation fetches is still where it is pinned.

Tags of images, versions on package indexes, revisions and files on the hub, checkpoints. All of it
is read from the files that name it. It needs the network, and so it is no part of `make test`.
Ends with 1 when something is gone or does not answer.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from whisperfusion.engines.cuda import LLAMA_INDEX  # noqa: E402
from whisperfusion.engines.whisperspeech import S2A, T2S  # noqa: E402
from whisperfusion.models.catalog import MODELS  # noqa: E402

HUB, PYPI, NVIDIA = "https://huggingface.co", "https://pypi.org/simple", "https://pypi.nvidia.com"
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
AT_ONCE, TIMEOUT_S = 8, 30.0
SOURCES = """
. docker/scripts/sources.sh
for one in $PHI_MODELS $MISTRAL_MODELS; do llm_source $one && echo hub $REPOSITORY $REVISION; done
for one in $WHISPER_MODELS; do
  whisper_source $one && echo hub $REPOSITORY $REVISION
  for url in "${CHECKPOINT_URLS[@]}"; do echo checkpoint whisper-$one $url; done
done
"""


@dataclass(frozen=True)
class Link:
    """`holds`: a pattern that the page at the address must have; empty = that it answers is
    enough.
    """

    kind: str
    what: str
    address: str
    holds: str = ""


# --- what there is to check ---------------------------------------------------------------------


def links() -> list[Link]:
    found = [*images(), *packages(), *models(), *engine_sources()]
    return list(dict.fromkeys(found))


OWN_IMAGE = "whisperfusion:"  # built from this repository


def images() -> Iterator[Link]:
    for file in sorted((ROOT / "docker").glob("Dockerfile*")):
        text = file.read_text(encoding="utf-8")
        given = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
        stages = set(re.findall(r"^FROM .* AS (\w+)", text, re.MULTILINE))
        names = re.findall(r"^FROM (\S+)|--from=(\S+)", text, re.MULTILINE)
        for name in (one or other for one, other in names):
            for argument, default in given.items():
                name = name.replace(f"${{{argument}}}", default)
            if name not in stages and not name.startswith(OWN_IMAGE):
                yield Link("image", name, manifest(name))
    deployed = "".join(file.read_text() for file in (ROOT / "deploy/kubernetes").glob("*.yaml"))
    for name in sorted(set(re.findall(r'image: "?([^"\s]+)', deployed))):
        if not name.startswith(OWN_IMAGE):
            yield Link("image", name, manifest(name))


def manifest(name: str) -> str:
    """The address of an image's tag at its registry."""
    path, _, tag = name.rpartition(":")
    host, _, rest = path.partition("/")
    if "." in host:
        return f"https://{host}/v2/{rest}/manifests/{tag}"
    return f"https://registry-1.docker.io/v2/{path if rest else f'library/{path}'}/manifests/{tag}"


def packages() -> Iterator[Link]:
    """What comes from another index than PyPI, what is pinned for a GPU, and models in wheels."""
    cpu = pins(ROOT / "requirements.txt")
    yield listed(LLAMA_INDEX, "xllamacpp", cpu["xllamacpp"], "x86_64")
    for name, version in pins(ROOT / "requirements-cuda.txt").items():
        yield listed(PYPI, name, version, "x86_64")
    for name, version in pins(ROOT / "constraints-gpu.txt").items():
        if name.startswith("tensorrt"):
            yield listed(NVIDIA, name, version)
    for model in MODELS.values():
        for wheel in model.wheels:
            yield listed(PYPI, wheel.project, wheel.version)


def listed(index: str, name: str, version: str, platform: str = "") -> Link:
    """A file of that version in an index; the file's name has _ for -."""
    pattern = rf"{re.sub('[-_.]+', '[-_.]', name)}-{re.escape(version)}[-.][^\"#]*{platform}"
    return Link("package", f"{name} {version}", f"{index}/{name}/", pattern)


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", file.read_text("utf-8"), re.MULTILINE))


def models() -> Iterator[Link]:
    for model in MODELS.values():
        if model.hub:
            for path in model.hub.paths:
                where = f"{model.hub.repo}/resolve/{model.hub.revision}/{path}"
                yield Link("model", f"{model.id}: {path}", f"{HUB}/{where}")
    for reference in (T2S, S2A):
        repository, _, path = reference.partition(":")
        yield Link("model", reference, f"{HUB}/{repository}/resolve/main/{path}")


def engine_sources() -> Iterator[Link]:
    """What TensorRT's engines are built of."""
    told = subprocess.run(
        ["bash", "-euc", SOURCES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for kind, name, where in (line.split() for line in told.stdout.splitlines()):
        if kind == "hub":
            address = f"{HUB}/api/models/{name}/revision/{where}"
            yield Link("model", f"{name} {where[:12]}", address)
        else:
            yield Link(kind, name, where)


# --- checking -----------------------------------------------------------------------------------


def problem(client: httpx.Client, link: Link) -> str:
    """Why the link is not good; empty = it is."""
    try:
        answer = ask(client, link)
    except httpx.HTTPError as error:
        return f"no answer: {type(error).__name__} {error}".strip()
    if answer.status_code in (404, 410):
        return f"gone ({answer.status_code})"
    if answer.status_code >= 400:
        return f"refused ({answer.status_code})"
    if link.holds and not re.search(link.holds, answer.text, re.IGNORECASE):
        return "the index does not list it"
    return ""


def ask(client: httpx.Client, link: Link) -> httpx.Response:
    """A registry wants a token first, which it gives to everyone. A redirection is an answer."""
    method, headers = ("GET" if link.holds else "HEAD"), {"Accept": "*/*"}
    if link.kind == "image":
        headers["Accept"] = MANIFESTS
    answer = client.request(
        method, link.address, headers=headers, follow_redirects=bool(link.holds)
    )
    realm = dict(re.findall(r'(\w+)="([^"]*)"', answer.headers.get("www-authenticate", "")))
    if answer.status_code == 401 and realm.get("realm", "").startswith("http"):
        given = client.get(realm.pop("realm"), params=realm).raise_for_status().json()
        headers["Authorization"] = f"Bearer {given.get('token') or given['access_token']}"
        answer = client.request(method, link.address, headers=headers)
    return answer


def report(found: Iterable[Link]) -> int:
    """Print a table, what is wrong at its end; the exit status."""
    checked = list(found)
    with httpx.Client(timeout=TIMEOUT_S) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        problems = list(pool.map(lambda link: problem(client, link), checked))
    width = max(len(link.what) for link in checked)
    for link, why in sorted(zip(checked, problems, strict=True), key=lambda row: bool(row[1])):
        line = f"{'!' if why else ' '} {link.kind:10} {link.what:{width}}  {why or 'ok'}"
        print(f"{line}\n    {link.address}" if why else line)
    bad = sum(map(bool, problems))
    print(f"{len(checked)} checked, {bad} not good")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(report(links()))
