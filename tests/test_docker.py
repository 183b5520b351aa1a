"""The image's files as they lie there: linters, the compose schema, and what a builder would trip
over hours later.

No container engine is at hand, so this reads the files the way it would: what is copied exists and
is sent to the builder, what is passed is a setting, what is said to start can be started.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from whisperfusion import settings
from whisperfusion.engines import cuda

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "docker" / "scripts"
FILES = {
    "gpu": "docker/Dockerfile",
    "cuda": "docker/Dockerfile.cuda",
    "cpu": "docker/Dockerfile.cpu",
}
PROFILES, DOCKERFILES = tuple(FILES), tuple(FILES.values())
CLUSTER = "docker/Dockerfile.cluster"  # stands on one of the others
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
PORTS = ["6006", "8888", "8000"]
APT = (
    "python3.10",
    "python3.10-dev",
    "python3.10-venv",
    "build-essential",
    "git",
    "git-lfs",
    "openmpi-bin",
    "libopenmpi-dev",
    "curl",
    "ca-certificates",
)


def instructions(file: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of a Dockerfile, without comments, continued lines joined."""
    text = "\n".join(
        line
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def lines_of(file: str, instruction: str) -> list[str]:
    return [rest for name, rest in instructions(file) if name == instruction]


def environment(file: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(lines_of(file, "ENV"))))


def copied(file: str) -> list[str]:
    """Sources that come from the project, one by one."""
    return [
        source
        for rest in lines_of(file, "COPY")
        if "--from" not in rest
        for source in rest.split()[:-1]
    ]


def spellings() -> set[str]:
    """Every variable that the settings read."""
    return {
        name
        for spec in fields(settings.Settings)
        for name in (spec.name.upper(), *spec.metadata["aliases"])
    }


def ignored(path: str) -> bool:
    """What .dockerignore says: the last pattern that matches the path or a folder above it
    decides.
    """
    parts = Path(path).parts
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    verdict = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").strip()
        if not pattern or pattern.startswith("#"):
            continue
        anywhere = pattern.startswith("**/")
        matches = [
            fnmatch.fnmatch(
                name.rpartition("/")[2] if anywhere else name, pattern.removeprefix("**/")
            )
            and (anywhere or name.count("/") == pattern.count("/"))
            for name in above
        ]
        if any(matches):
            verdict = not line.startswith("!")
    return verdict


# --- linters ------------------------------------------------------------------------------------


def lint(program: str, *arguments: str) -> None:
    tool = Path(sys.executable).parent / program
    assert tool.is_file(), f"{program} is not installed; it is in requirements-dev.txt"
    done = subprocess.run(
        [str(tool), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and not done.stdout.replace("ok -- validation done", "").strip(), (
        done.stdout + done.stderr
    )


def test_hadolint_finds_nothing() -> None:
    lint("hadolint", *DOCKERFILES, CLUSTER)


def test_shellcheck_finds_nothing() -> None:
    lint("shellcheck", *sorted(str(path) for path in SCRIPTS.glob("*.sh")))


def test_the_compose_file_fits_the_schema() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_scripts_that_are_run_are_executable_and_the_sourced_ones_are_not() -> None:
    for path in SCRIPTS.glob("*.sh"):
        starts = path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
        assert starts == os.access(path, os.X_OK), path.name
        done = subprocess.run(
            ["git", "ls-files", "--stage", str(path)], cwd=ROOT, capture_output=True, text=True
        )
        assert not done.stdout or done.stdout.startswith("100755" if starts else "100644"), (
            f"{path.name} lost its mode in git"
        )


# --- Dockerfiles --------------------------------------------------------------------------------


def test_the_stages_stand_on_a_devel_image_of_cuda_12_4_or_one_that_is_given() -> None:
    [(argument, default)] = [
        rest.split("=") for rest in lines_of("docker/Dockerfile", "ARG") if "CUDA" in rest
    ]
    assert re.fullmatch(r"nvidia/cuda:12\.4\.\d-devel-ubuntu22\.04", default)
    stages = lines_of("docker/Dockerfile", "FROM")
    assert stages == [f"${{{argument}}} AS base", "base AS devel", "devel AS release"]
    assert service("gpu")["build"]["args"] == {argument: f"${{{argument}:-{default}}}"}


def test_plain_docker_finds_the_image_by_its_name() -> None:
    assert "whisperfusion:latest" in service("gpu")["build"]["tags"]


def test_the_system_has_what_the_environment_is_built_with() -> None:
    apt = next(rest for rest in lines_of("docker/Dockerfile", "RUN") if "apt-get" in rest)
    assert (
        set(APT) <= set(apt.split())
        and "--no-install-recommends" in apt
        and "rm -rf /var/lib/apt/lists/*" in apt
    )


def test_the_cpu_image_is_slim_and_has_the_one_library_that_no_wheel_brings() -> None:
    assert lines_of("docker/Dockerfile.cpu", "FROM") == ["python:3.11-slim-bookworm"]
    assert any(
        re.search(r"apt-get install .*\blibgomp1\b", rest)
        for rest in lines_of("docker/Dockerfile.cpu", "RUN")
    ), "llama.cpp needs it"
    assert "torch==" not in (ROOT / "requirements.txt").read_text(encoding="utf-8"), (
        "it alone is as large as the rest"
    )


def test_the_cuda_image_keeps_what_the_driver_compiles_and_is_given_the_driver() -> None:
    found = environment("docker/Dockerfile.cuda")
    assert found["CUDA_CACHE_PATH"].startswith("/data/models/")
    assert found["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility", "CUDA, and nvidia-smi"
    drivers = {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
    caches = {"CUDA_CACHE_PATH", "CUDA_CACHE_MAXSIZE", "HF_HOME"}
    assert set(found) - drivers - caches - {"PYTHONUNBUFFERED"} <= spellings()


def test_the_cuda_image_is_the_cpu_image_with_other_packages() -> None:
    """What one of them needs, the other does as well."""
    cpu, gpu = (instructions(FILES[profile]) for profile in ("cpu", "cuda"))
    differing = {"FROM", "ARG", "ENV", "HEALTHCHECK"}

    def rest(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
        packages = ("requirements", "pip install")
        return [
            (name, text)
            for name, text in lines
            if name not in differing and not any(word in text for word in packages)
        ]

    assert rest(cpu) == rest(gpu)


def test_the_cuda_build_of_llama_cpp_is_installed_first_from_its_index_alone() -> None:
    """PyPI's has the same version: with both indexes, or afterwards, pip would take that one."""
    (index,) = lines_of("docker/Dockerfile.cuda", "ARG")
    assert index == f"XLLAMACPP_INDEX={cuda.LLAMA_INDEX}"
    (install,) = [line for line in lines_of("docker/Dockerfile.cuda", "RUN") if "pip" in line]
    first, second = install.split(" && ")
    assert '--no-deps --index-url "$XLLAMACPP_INDEX"' in first and "extra-index" not in install
    assert first.rstrip().endswith('"$(grep ^xllamacpp== requirements.txt)"')
    assert second.rstrip().endswith("-r requirements-cuda.txt")


def test_the_cluster_image_is_the_servers_with_ray_and_ends_without_root() -> None:
    """A base has the code, `cluster/` among it; what is installed has the same pins."""
    bases = {f"whisperfusion:{profile}" for profile in PROFILES}
    assert lines_of(CLUSTER, "ARG") == ["BASE=whisperfusion:cpu"]
    assert "whisperfusion:cpu" in bases and lines_of(CLUSTER, "FROM") == ["${BASE}"]
    assert all("cluster" in copied(FILES[profile]) for profile in PROFILES)
    assert lines_of(CLUSTER, "USER") == ["0", "1000:1000"]
    assert any("-r requirements-cluster.txt" in run for run in lines_of(CLUSTER, "RUN"))
    text = (ROOT / "requirements-cluster.txt").read_text(encoding="utf-8")
    assert "-r requirements.txt" in text.splitlines()


def test_uv_is_pinned_lies_where_it_is_expected_and_is_tried_at_once() -> None:
    lines = instructions("docker/Dockerfile")
    at = next(
        index
        for index, (name, rest) in enumerate(lines)
        if name == "COPY" and "astral-sh/uv" in rest
    )
    assert re.fullmatch(
        r"--from=ghcr\.io/astral-sh/uv:\d+\.\d+\.\d+ /uv /usr/local/bin/uv", lines[at][1]
    )
    assert lines[at + 1] == ("RUN", "uv --version")


@pytest.mark.parametrize("file", [*DOCKERFILES, CLUSTER])
def test_what_is_copied_exists_and_is_sent_to_the_builder(file: str) -> None:
    sources = copied(file)
    assert sources
    for source in sources:
        found = list(ROOT.glob(source))
        assert found, f"{file} copies {source}, which is not there"
        for path in found:
            inside = (
                [path]
                if path.is_file()
                else [
                    inner for inner in path.rglob("*") if inner.is_file() and inner.suffix != ".pyc"
                ]
            )
            for inner in inside:
                assert not ignored(str(inner.relative_to(ROOT))), f"{inner} is in .dockerignore"


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "bench/common.py",
        "docs/page.png",
        "whisperfusion/turns/__pycache__/a.pyc",
        "docker/Dockerfile",
        "README.md",
    ],
)
def test_secrets_and_what_is_not_needed_stay_out(path: str) -> None:
    assert ignored(path)


@pytest.mark.parametrize("file", DOCKERFILES)
def test_every_module_of_the_server_is_in_the_image(file: str) -> None:
    assert {"*.py", "whisperfusion", "cluster", "web", "agents"} <= set(copied(file))
    needed = {
        path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").is_file()
    } - {"tests", "bench"}
    assert needed <= set(copied(file))


def test_layers_that_seldom_change_come_first() -> None:
    lines = [f"{name} {rest}" for name, rest in instructions("docker/Dockerfile")]
    marks = (
        "apt-get install",
        "requirements-gpu.txt",
        "RUN docker/scripts/setup-whisperfusion.sh",
        "RUN docker/scripts/fetch-examples.sh",
        "COPY whisperfusion",
        "RUN docker/scripts/verify.sh --build",
        "USER ",
    )
    places = [next(index for index, line in enumerate(lines) if mark in line) for mark in marks]
    assert places == sorted(places)
    before = [
        source for source in copied("docker/Dockerfile") if source.startswith("docker/scripts/")
    ]
    assert len(before) == 4 and "docker/scripts" in copied("docker/Dockerfile"), (
        "a change of another script installs nothing again"
    )
    cpu = [f"{name} {rest}" for name, rest in instructions("docker/Dockerfile.cpu")]
    assert next(i for i, line in enumerate(cpu) if "pip install" in line) < next(
        i for i, line in enumerate(cpu) if "COPY whisperfusion" in line
    )


@pytest.mark.parametrize("file", DOCKERFILES)
def test_nothing_runs_as_root(file: str) -> None:
    assert lines_of(file, "USER") == ["1000:1000"] and any(
        "--uid 1000 whisperfusion" in rest for rest in lines_of(file, "RUN")
    )
    names = [name for name, _ in instructions(file)]
    assert "RUN" not in names[names.index("USER") :]
    volumes = set(re.findall(r'"([^"]+)"', " ".join(lines_of(file, "VOLUME"))))
    owned = next(rest for rest in lines_of(file, "RUN") if "install -d -o whisperfusion" in rest)
    assert volumes and all(volume in owned for volume in volumes)


@pytest.mark.parametrize("file", DOCKERFILES)
def test_ports_health_check_and_entry_point(file: str) -> None:
    assert sorted(" ".join(lines_of(file, "EXPOSE")).split()) == sorted(PORTS)
    (health,) = lines_of(file, "HEALTHCHECK")
    assert (
        "docker/scripts/health.py" in health
        and "--start-period" in health
        and (SCRIPTS / "health.py").is_file()
    )
    (entry,) = lines_of(file, "ENTRYPOINT")
    assert entry.startswith("["), "a shell would keep the signals"
    script = re.findall(r'"([^"]+)"', entry)[-1].removeprefix("/opt/whisperfusion/")
    assert (ROOT / script).is_file() and (
        script.endswith(".py") or os.access(ROOT / script, os.X_OK)
    )


def test_the_defaults_of_the_image_are_settings_and_are_accepted() -> None:
    found = environment("docker/Dockerfile")
    chosen = settings.build({}, found, {})
    assert (chosen.asr_engine, chosen.llm_engine, chosen.tts_engine) == (
        "tensorrt-whisper",
        "tensorrt-llm",
        "whisperspeech",
    )
    assert (chosen.asr_model, chosen.llm_model, chosen.host) == (
        "small.en",
        "phi-3-mini-4k-instruct",
        "0.0.0.0",
    )
    assert (str(chosen.engines), str(chosen.cache)) == ("/data/engines", "/data/models")
    caches = {"HF_HOME", "TORCH_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"}
    assert all(found[name].startswith("/data/models/") for name in caches), (
        "in a volume, or each new container starts anew"
    )
    assert found["TORCHINDUCTOR_FX_GRAPH_CACHE"] == "1", "off by default in torch 2.2"
    others = {"DEBIAN_FRONTEND", "VENV", "EXAMPLES_DIR", "PATH", "TORCHINDUCTOR_FX_GRAPH_CACHE"}
    ours = set(found) - caches - others
    assert {name for name in ours if not name.startswith("UV_")} <= spellings()
    for file in ("docker/Dockerfile.cpu", "docker/Dockerfile.cuda"):
        slim = settings.build({}, environment(file), {})
        assert (slim.host, str(slim.cache)) == ("0.0.0.0", "/data/models")


# --- docker-compose.yml -------------------------------------------------------------------------


def service(profile: str) -> dict[str, Any]:
    """What `docker compose --profile PROFILE up` starts: services of that profile and those of
    none.
    """
    chosen = {
        name: found
        for name, found in COMPOSE["services"].items()
        if profile in found.get("profiles", [profile])
    }
    names = {
        "gpu": "whisperfusion",
        "cuda": "whisperfusion-cuda",
        "cpu": "whisperfusion-cpu",
    }
    assert list(chosen) == [names[profile]]
    return next(iter(chosen.values()))


def default_of(value: str) -> str:
    """`${NAME:-default}` with NAME not set."""
    match = re.fullmatch(r"\$\{(\w+):-(.*)\}", value)
    assert match, f"{value} has no default; an unset variable would be a warning and an empty value"
    return match.group(2)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_starts_one_service_with_the_three_ports(profile: str) -> None:
    found = service(profile)
    assert sorted(found["ports"]) == sorted(f"${{BIND:-127.0.0.1}}:{port}:{port}" for port in PORTS)
    assert (
        found["restart"] == "unless-stopped"
        and found["init"] is True
        and found["stop_grace_period"] == "30s"
    )
    assert found["user"] == "1000:1000" and "privileged" not in found
    assert "nginx" not in str(COMPOSE)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_variable_that_compose_passes_is_a_setting_under_its_own_name(profile: str) -> None:
    passed = service(profile)["environment"]
    assert set(passed) <= spellings()
    of_the_image = {
        "HOST",
        "ASR_PORT",
        "TTS_PORT",
        "HTTP_PORT",
        "WYOMING_PORT",
        "WYOMING_HOST",
        "UPSTREAM_HOST",
        "MODEL_CACHE_DIR",
        "ENGINES_DIR",
    }
    own = (
        {spec.name.upper() for spec in fields(settings.Settings)}
        - of_the_image
        - (set() if profile == "gpu" else {"CUDA_ARCH", "GPU_SHARING"})
    )
    assert set(passed) == own | {"MODEL"}, "a new setting has to be passed too"
    for name, value in passed.items():
        assert value.startswith("${" + name + ":-")


@pytest.mark.parametrize(("profile", "file"), FILES.items())
def test_with_nothing_set_compose_means_what_the_image_means(profile: str, file: str) -> None:
    image = environment(file)
    passed = {name: default_of(value) for name, value in service(profile)["environment"].items()}
    assert passed.pop("ALLOW_OPEN") == "true", (
        "the container listens for its network; which ports are published decides who reaches it"
    )
    assert settings.build({}, {**image, **passed}, {}) == settings.build({}, image, {})
    build = service(profile)["build"]
    assert (build["context"], build["dockerfile"]) == (".", file)
    assert build.get("target") == ("release" if profile == "gpu" else None)


def test_volumes_hold_engines_and_models_and_are_declared() -> None:
    mounted = {
        profile: dict(
            entry.split(":") for entry in service(profile)["volumes"] if not entry.startswith("./")
        )
        for profile in PROFILES
    }
    agents = "./agents:/opt/whisperfusion/agents:ro"  # beside the compose file, and in the image
    assert all(agents in service(profile)["volumes"] for profile in PROFILES)
    assert mounted == {
        "gpu": {"engines": "/data/engines", "models": "/data/models"},
        "cuda": {"models": "/data/models"},
        "cpu": {"models": "/data/models"},
    }
    assert set(COMPOSE["volumes"]) == {"engines", "models", "redis"}


def test_redis_is_asked_for_by_name_and_is_seen_by_the_servers_only() -> None:
    redis = COMPOSE["services"]["redis"]
    assert redis["profiles"] == ["redis"] and "ports" not in redis
    assert redis["volumes"] == ["redis:/data"]


@pytest.mark.parametrize(
    "package", ["redis", "mcp", "ddgs", "opentelemetry-exporter-otlp-proto-http"]
)
def test_all_images_have_the_tested_version_of_an_extra(package: str) -> None:
    dev = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    pin = re.search(rf"^{package}==.*$", dev, re.MULTILINE)[0]
    for file in ("requirements-extras.txt", "constraints-gpu.txt"):
        assert pin in (ROOT / file).read_text(encoding="utf-8").splitlines(), file
    for file in ("docker/Dockerfile.cpu", "docker/Dockerfile.cuda"):
        assert "-r requirements-extras.txt" in (ROOT / file).read_text(encoding="utf-8"), file


@pytest.mark.parametrize("profile", ["gpu", "cuda"])
def test_only_services_for_a_gpu_reserve_one(profile: str) -> None:
    (device,) = service(profile)["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    assert device["device_ids"] == ["${GPU:-0}"], "the first, or the one that is asked for"
    assert "deploy" not in service("cpu") and "CUDA_ARCH" in service("gpu")["environment"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_health_check_waits_for_the_first_start(profile: str) -> None:
    check = service(profile)["healthcheck"]
    assert (
        check["test"][0] == "CMD"
        and check["test"][-1] == "/opt/whisperfusion/docker/scripts/health.py"
    )
    assert (
        int(check["start_period"].removesuffix("m")) >= {"gpu": 60, "cuda": 30, "cpu": 10}[profile]
    )
