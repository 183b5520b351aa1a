"""What an engine folder says about itself, checked before anything heavy is loaded.

An engine cannot be downloaded and does not travel: it fits one model, one version of TensorRT-LLM
and one GPU architecture. So whatever is wrong with a folder, the answer is to build it again, and
every error says how.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperfusion.errors import EngineError

VERSION = "0.10.0"
# Phi-3-mini-4k was trained with a sliding window, which the engines of 0.10.0 do not have: beyond
# so many tokens of prompt and answer together it writes broken text
PHI_3_WINDOW, PHI_3_POSITIONS = 2047, 4096


@dataclass(frozen=True)
class EngineFolder:
    """The limits are those of the build, or tighter ones of the model; tokens.

    `paged`: in-flight batching is possible. `reuses`: prompt prefixes can be reused.
    """

    path: Path
    architecture: str
    max_input_len: int
    max_output_len: int
    max_batch_size: int
    tokens_per_block: int
    paged: bool
    reuses: bool

    @property
    def max_seq_len(self) -> int:
        return self.max_input_len + self.max_output_len


def how_to_build(path: Path) -> str:
    name = path.name
    if name.startswith("whisper-"):
        return (
            "build it on this machine with docker/scripts/build-whisper.sh "
            f"{name.removeprefix('whisper-')}"
        )
    family = next((one for one in ("mistral", "phi") if one in name.lower()), None)
    script = "build-models.sh" if family is None else f"build-{family}.sh {name}"
    return f"build it on this machine with docker/scripts/{script}"


def read_folder(model: str) -> EngineFolder:
    """The folder `model`; EngineError names the path that is missing and the script that makes
    it.
    """
    path = Path(model)
    needed = [path, *(path / name for name in ("config.json", "rank0.engine", "tokenizer.json"))]
    missing = next((one for one in needed if not one.exists()), None)
    if missing is not None:
        raise EngineError(
            f"there is no TensorRT engine of {path.name}: {missing} is missing; "
            f"{how_to_build(path)}"
        )
    try:
        return from_config(path, json.loads((path / "config.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"{path / 'config.json'} is not the description of an engine ({error!r}); "
            f"{how_to_build(path)}"
        ) from error


def from_config(path: Path, config: dict[str, Any]) -> EngineFolder:
    version = config.get("version")
    if version != VERSION:
        raise EngineError(
            f"the engine in {path} was built with TensorRT-LLM "
            f"{version or 'of an unknown version'}, and this is {VERSION}: "
            f"delete the folder and {how_to_build(path)}"
        )
    build, model = config["build_config"], config["pretrained_config"]
    plugins = build["plugin_config"]
    longest_prompt, longest_answer = within_window(
        model, int(build["max_input_len"]), int(build["max_output_len"])
    )
    return EngineFolder(
        path,
        model["architecture"],
        longest_prompt,
        longest_answer,
        int(build["max_batch_size"]),
        int(plugins.get("tokens_per_block", 64)),
        paged=bool(
            plugins["paged_kv_cache"]
            and plugins["remove_input_padding"]
            and plugins["gpt_attention_plugin"]
        ),
        reuses=bool(plugins.get("use_paged_context_fmha")),
    )


def within_window(model: dict[str, Any], prompt: int, answer: int) -> tuple[int, int]:
    """The longest prompt and answer of an engine that was built for `prompt` and `answer`: one
    that was built by hand may be longer than its model can be.
    """
    short = model.get("max_position_embeddings") == PHI_3_POSITIONS
    if model["architecture"] != "Phi3ForCausalLM" or not short:
        return prompt, answer
    answer = min(answer, PHI_3_WINDOW // 4)
    return min(prompt, PHI_3_WINDOW - answer), answer


def load_error(path: Path, error: Exception) -> EngineError:
    """What to tell a person when TensorRT refuses the engine in `path`."""
    text = str(error).strip() or repr(error)
    if short_of_memory(text):
        return memory_error(path, text)
    return EngineError(
        f"the engine in {path} cannot be loaded ({text}). An engine fits one GPU architecture and "
        f"one TensorRT version: delete the folder and {how_to_build(path)}"
    )


def start_error(path: Path, error: Exception) -> EngineError:
    """What to tell when the engine in `path` was loaded, and its first work failed."""
    text = str(error).strip() or repr(error)
    if short_of_memory(text):
        return memory_error(path, text)
    return EngineError(
        f"the engine in {path} was loaded and does not work ({text}); the lines above may say "
        f"more. If they do not, delete the folder and {how_to_build(path)}"
    )


def short_of_memory(text: str) -> bool:
    return any(word in text.lower() for word in ("out of memory", "outofmemory", "cudamalloc"))


def memory_error(path: Path, text: str) -> EngineError:
    smaller = (
        "ASR_MODEL"
        if path.name.startswith("whisper-")
        else "LLM_MODEL or fewer callers with LLM_OPTION=parallel=2"
    )
    return EngineError(
        f"there is not enough free GPU memory for {path.name} ({text}): stop other programs on "
        f"the GPU, or choose a smaller model with {smaller}; docs/gpu.md has a table"
    )
