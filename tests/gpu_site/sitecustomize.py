"""Put this folder on PYTHONPATH, and every process of the server has tensorrt_llm, whisperspeech
and torch as recorded signatures.

They come when the first of them is imported, with scripted behaviours: a Whisper whose arithmetic
is the real model, a language model that repeats the question, a voice that hums. ENGINES_DIR says
which model the language engine is.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOTS = ("tensorrt_llm", "whisperspeech", "torch")


class OnDemand(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.split(".", maxsplit=1)[0] not in ROOTS:
            return None
        sys.meta_path.remove(self)
        install()
        # else the import system believes that it was imported meanwhile
        self.asked_for = sys.modules.pop(name)
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.asked_for

    def exec_module(self, module: ModuleType) -> None:
        """It is made already."""


def install() -> None:
    import fake_gpu
    import fake_trt
    import test_whisperspeech
    import whisper_on_fakes
    from tokenizers import Tokenizer

    installed = fake_gpu.installed(*ROOTS)
    gpu = installed.__enter__()
    vars(sys)["_gpu"] = installed  # whose end would take the modules away
    whisper_on_fakes.Behaviour(gpu)
    test_whisperspeech.Voice(gpu)
    folder = Path(os.environ["ENGINES_DIR"]) / fake_trt.FOLDERS["phi-3"]
    config = fake_trt.json.loads((folder / "config.json").read_text())["build_config"]
    machine = fake_trt.Machine(
        gpu, "phi-3", Tokenizer.from_file(str(folder / "tokenizer.json")), config
    )
    fake_trt.behave_as_executor(machine)
    fake_trt.behave_as_runner(machine)


sys.path.insert(0, str(Path(__file__).parent.parent))
sys.meta_path.insert(0, OnDemand())
