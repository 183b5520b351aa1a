"""What the documents say of the repository is true: links, paths, settings, versions, lists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from running import ROOT

from docs import settings_reference
from whisperfusion.settings import Settings, build, read_env_file

# AI_LOG.md tells of files as they were called then.
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        ".github/**/*.md",
        "docs/**/*.md",
        "bench/*.md",
        "examples/*.md",
        "web/*.md",
    )
    for path in ROOT.glob(pattern)
    if path.name != "AI_LOG.md"
)
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACES = "whisperfusion tests bench docs web docker deploy examples .github .ci".split()
ROOMS = [path.name for path in (ROOT / "whisperfusion").iterdir() if path.is_dir()]
PATH = re.compile(rf"`((?:{'|'.join(map(re.escape, [*PLACES, *ROOMS]))})/[\w./*-]+)")
PRODUCT = [*ROOT.glob("*.py"), *(ROOT / "whisperfusion").rglob("*.py")]
FOLLOWED = re.compile(r"^(.+?)\n.*?\bFollow `(\w+)`.*?\n\n(\|.*?)(?:\n\n|\s*\Z)", re.S)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    return FENCE.sub("", text_of(name))


def anchors(name: str) -> set[str]:
    """The anchors of a page's headings, as they are made where the repository is read."""
    headings = re.findall(r"^#+ (.+)$", prose(name), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


# --- links and paths ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name):
    for link in LINK.findall(prose(name)):
        target, _, anchor = link.partition("#")
        assert "://" not in target, f"{name} leads out of the repository: {link}"
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), f"{name}: {link} does not exist"
        if anchor:
            found = anchors(path.resolve().relative_to(ROOT).as_posix())
            assert anchor in found, f"{name}: {link} has no such heading; there are {found}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_that_is_named_exists(name):
    named = [path for path in PATH.findall(text_of(name)) if not path.startswith("bench/out/")]
    missing = [path for path in named if not exists(path)]
    assert missing == []


def exists(path: str) -> bool:
    """From the root, or from the package where it begins with one of its folders."""
    return any(any(folder.glob(path)) for folder in (ROOT, ROOT / "whisperfusion"))


def test_every_part_of_the_package_is_in_the_table_of_folders():
    table = text_of("docs/architecture.md").partition("\n## Folders")[2].partition("\n## ")[0]
    parts = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "whisperfusion").iterdir()
        if not path.name.startswith("__") and path.suffix != ".typed"
    }
    assert set(re.findall(r"`whisperfusion/([\w.]+/?)`", table)) == parts


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) < 150


def test_the_replay_that_is_shown_is_that_of_the_recording():
    (shown,) = re.findall(
        r"^## What it shows\n```\n(.*?)```", text_of("docs/replay.md"), re.M | re.S
    )
    done = subprocess.run(
        [sys.executable, "main.py", "replay", "tests/recorded/pause.jsonl"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and shown in done.stdout, done.stdout[:3000]


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", settings_reference.PAGES)
def test_what_is_generated_is_current(name):
    assert text_of(name) == settings_reference.PAGES[name](), f"run `make docs`: {name} is outdated"


def test_the_example_of_an_env_file_has_every_default(tmp_path):
    lines = text_of(".env.example").splitlines()
    (tmp_path / ".env").write_text(
        "\n".join(line[1:] for line in lines if re.match(r"#[A-Z_]+=", line))
    )
    values = read_env_file(tmp_path / ".env")
    assert set(values) == {name.upper() for name in Settings.__dataclass_fields__}
    assert build({}, {}, values) == replace(Settings())


# --- the lists of files in CONTRIBUTING.md -----------------------------------------------------


def lists() -> list[tuple[str, str, list[str]]]:
    """(heading, the word to follow, the files of the table) of each list."""
    parts = text_of("CONTRIBUTING.md").split("\n## ")
    found = [part.groups() for part in map(FOLLOWED.match, parts) if part]
    return [
        (title, word, re.findall(r"^\| `([^`]+)` \|", table, re.M)) for title, word, table in found
    ]


def test_there_is_a_list_for_each_kind_of_addition():
    assert [heading for heading, _, _ in lists()] == [
        "Add an engine",
        "Add a protocol",
        "Add an option of a call",
        "Add a setting",
    ]


@pytest.mark.parametrize(("heading", "word", "files"), lists())
def test_the_files_to_follow_have_what_is_followed(heading, word, files):
    lacking = [name for name in files if word not in text_of(name).lower()]
    assert lacking == [], f"CONTRIBUTING.md, {heading!r}: no {word} in these files"


@pytest.mark.parametrize(("heading", "word", "files"), lists())
def test_no_file_of_the_product_is_missing_in_the_list(heading, word, files):
    having = {
        path.relative_to(ROOT).as_posix()
        for path in PRODUCT
        if word in path.read_text(encoding="utf-8").lower()
    }
    assert having - set(files) == set(), f"CONTRIBUTING.md, {heading!r} lacks these files"


# --- versions and forms ------------------------------------------------------------------------


def test_the_hooks_of_a_commit_have_the_versions_of_the_tests():
    pinned = dict(re.findall(r"^(ruff|mypy)==(\S+)", text_of("requirements-dev.txt"), re.M))
    config = yaml.safe_load(text_of(".pre-commit-config.yaml"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    wanted = {f"{name}=={version}" for name, version in pinned.items()}
    assert len(wanted) == 2
    assert {pin for hook in hooks for pin in hook["additional_dependencies"]} == wanted


def test_types_are_checked_before_a_commit_as_by_make():
    (command,) = re.findall(r"\$\(BIN\)/(mypy.*)", text_of("Makefile"))
    config = yaml.safe_load(text_of(".pre-commit-config.yaml"))
    (entry,) = [hook["entry"] for hook in config["repos"][0]["hooks"] if hook["id"] == "mypy"]
    assert entry.replace(" --python-executable .venv/bin/python", "") == command


def test_the_workflow_runs_what_is_run_here_on_every_python():
    workflow = yaml.safe_load(text_of(".github/workflows/ci.yml"))
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == ".ci/run"


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_the_forms_are_valid(schema, files):
    program = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent))
    assert program, "pip install -r requirements-dev.txt"
    done = subprocess.run(
        [program, "--builtin-schema", f"vendor.{schema}", *map(str, ROOT.glob(files))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
