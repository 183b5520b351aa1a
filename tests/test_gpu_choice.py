"""Which GPU a stage's libraries see: set in its own process, before any of them is imported."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

from whisperfusion.messages import Notice
from whisperfusion.runtime.channel import Channel
from whisperfusion.runtime.stage_process import run_stage
from whisperfusion.settings import Settings

VARIABLES = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES")


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    """A stage that tells what its libraries would see."""
    outbox.put(Notice("stage", " ".join(os.environ.get(name, "-") for name in VARIABLES)))
    inbox.get()  # until that was read


@pytest.mark.parametrize(
    ("stage", "seen"),
    [
        ("asr", "PCI_BUS_ID 1"),
        ("llm", "PCI_BUS_ID GPU-8f2e"),
        ("tts", "- -"),
        ("gateway", "- -"),
    ],
)
def test_each_stage_sees_its_own_gpu(stage: str, seen: str) -> None:
    chosen = Settings(asr_gpu="1", llm_gpu="GPU-8f2e", log_level="error")
    context = multiprocessing.get_context("spawn")
    inbox, outbox = Channel(context), Channel(context)
    process = context.Process(
        target=run_stage, args=(__name__, stage, chosen, inbox, outbox), daemon=True
    )
    process.start()
    outbox.only_read()
    inbox.only_write()
    assert outbox.get() == Notice("stage", seen)
    inbox.put(None)
    process.join()
    inbox.close()
    outbox.close()
