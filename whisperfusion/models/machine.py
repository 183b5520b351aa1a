"""What this machine, or the container around us, gives us: cores and memory, and the language model
that fits them.

A container sees the whole host in /proc; what it may really use stands in its control group. So
both are asked and the smaller one counts. `root` is "/" except in tests, which lay out a small tree
instead.
"""

from __future__ import annotations

import os
from pathlib import Path

ASR_CPU = "whisper-base"
LLM_LARGE, LLM_SMALL, LLM_TINY = "qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", "smollm2-135m"
# The models take 1.9, 0.7 and 0.2 GB when loaded; Whisper base, speech and the processes are given
# 1.3 GB, the system the rest.
LLM_LARGE_MEMORY, LLM_SMALL_MEMORY = 4_500_000_000, 2_000_000_000


# Of the hub, for general talk, the best first: cores that answer in time, and memory. Loaded with
# the cache of four dialogues they take 6.7, 4.1, 2.4, 1.6 and 0.7 GB; the rest as above.
GENERAL_LLMS = (
    ("qwen3-8b", 24, 10_000_000_000),
    ("qwen3-4b-instruct-2507", 12, 6_500_000_000),
    ("qwen3-1.7b", 4, 4_500_000_000),
    ("qwen3-0.6b", 1, 3_500_000_000),
    ("qwen2.5-0.5b-instruct", 1, 2_000_000_000),
)


def cores(root: Path = Path("/")) -> int:
    """How many cores this process may use: its affinity, cut by the quota of its control group.

    At least 1.
    """
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min([allowed, *(int(quota) for quota in _quotas(root))]))


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory in bytes that this process may use: the machine's, cut by the limit of its control
    group.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *_memory_limits(root)])


def general_llm(cores: int, memory_bytes: int) -> tuple[str, str] | None:
    """The language model of the hub that fits this machine, and the reason as a sentence for the
    log; None where none does.
    """
    for model, least_cores, least_memory in GENERAL_LLMS:
        if cores >= least_cores and memory_bytes >= least_memory:
            have = _have(cores, memory_bytes)
            return model, f"{model} was chosen: {have} carry no larger one of the hub in time."
    return None


def default_llm(cores: int, memory_bytes: int) -> tuple[str, str]:
    """The language model of the packages that fits this machine, and the reason as a sentence for
    the log.
    """
    have = _have(cores, memory_bytes)
    if cores >= 4 and memory_bytes >= LLM_LARGE_MEMORY:
        return LLM_LARGE, f"{LLM_LARGE} was chosen: {have} carry the larger model."
    if memory_bytes >= LLM_SMALL_MEMORY:
        lack = "4 cores" if cores < 4 else f"{LLM_LARGE_MEMORY / 1e9:.1f} GB of memory"
        return (
            LLM_SMALL,
            f"{LLM_SMALL} was chosen: {have}; the larger model needs {lack} to answer in time.",
        )
    return (
        LLM_TINY,
        (
            f"{LLM_TINY} was chosen as a last resort: {have}; better models need "
            f"{LLM_SMALL_MEMORY / 1e9:.0f} GB."
        ),
    )


def _have(cores: int, memory_bytes: int) -> str:
    return f"{cores} core{'s' * (cores != 1)} and {memory_bytes / 1e9:.1f} GB of memory"


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process's control group, from its own up to the top: a limit anywhere
    on the way holds.
    """
    mount = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        top = mount / controller if names else mount
        own = top / path.lstrip("/")
        # Inside a container the path is often the host's and not visible; then the top is our own
        # group.
        found += [
            folder for folder in (own, *own.parents) if folder == top or top in folder.parents
        ]
    return found


def _quotas(root: Path) -> list[float]:
    quotas = []
    for folder in _groups(root, "cpu"):
        new = _read(folder / "cpu.max").split()  # version 2: "<microseconds or max> <period>"
        # version 1
        old = [
            *_read(folder / "cpu.cfs_quota_us").split(),
            *_read(folder / "cpu.cfs_period_us").split(),
        ]
        for pair in (new, old):
            if len(pair) == 2 and pair[0].isdigit() and int(pair[1]) > 0:
                quotas.append(int(pair[0]) / int(pair[1]))
    return quotas


def _memory_limits(root: Path) -> list[int]:
    files = [
        folder / name
        for folder in _groups(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return [int(text) for text in (_read(file).strip() for file in files) if text.isdigit()]


def _read(file: Path) -> str:
    """The text of a file, or "" where this kernel or container has none: a missing limit is no
    limit.
    """
    try:
        return file.read_text()
    except OSError:
        return ""
