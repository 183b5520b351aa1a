"""llama.cpp's own server in this process, by xllamacpp: one model, many slots.

The library always opens a loopback port; a random key closes it to other programs. What it
streams comes to a callback in chunks of JSON, which `AnswerReader` turns into pieces of an answer.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from typing import Any

from whisperfusion.engines import cuda
from whisperfusion.engines.llama.fitting import MORE
from whisperfusion.engines.protocols import Progress, Thought, ToolCall
from whisperfusion.engines.remote.chat import Calls, WrittenCalls
from whisperfusion.errors import EngineError
from whisperfusion.models.cards import cards, driver_lacks

# turns of a waiting thread before it sleeps; libgomp's default is hundreds of thousands
SPIN = "300"
Give = Callable[[str | ToolCall], bool]  # returns True once the reply was cancelled

log = logging.getLogger(__name__)


class Server:
    """`context` is the memory of all slots together, in tokens."""

    def __init__(
        self,
        *,
        model: str,
        context: int,
        slots: int,
        decode_threads: int,
        prompt_threads: int,
        few_cores: bool,
        gpu_layers: int,
    ) -> None:
        """Raises EngineError for a file that cannot be loaded."""
        if "OMP_WAIT_POLICY" not in os.environ:
            # read once, when the library below loads libgomp
            os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
        xllamacpp, self.device = load_library(gpu_layers)
        self.few_cores = few_cores and self.device == "cpu"
        params = xllamacpp.CommonParams()
        params.model.path, params.n_gpu_layers = model, gpu_layers
        params.use_jinja = True  # templates as models bring them; functions need that
        params.n_ctx, params.kv_unified = context, True
        # slots cost nothing and keep the dialogues of those who listen
        params.n_parallel = slots
        params.cpuparams.n_threads = decode_threads
        params.cpuparams_batch.n_threads = prompt_threads
        # Small batches cost 8 % of prompt speed, and let others speak and a closed reply stop twice
        # a second.
        params.n_batch = params.n_ubatch = 64 if self.few_cores else 512
        params.cache_ram_mib, params.n_threads_http = 0, 1
        params.verbosity, params.ui, params.endpoint_slots = -1, False, False
        self.key = secrets.token_hex(32)
        params.api_keys = [self.key]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(
                f"{model} cannot be loaded ({error}): it is damaged, of a kind that xllamacpp "
                "does not know, or too large for this memory; choose another with LLM_MODEL"
            ) from error
        self.address: str = self._server.listening_address

    def clear(self, slot: int) -> None:
        """A slot is cleared by a prompt of one token."""
        self._server.handle_completions(
            {"prompt": [0], "n_predict": 0, "id_slot": slot, "cache_prompt": False},
            lambda chunks: False,
        )

    def stream_chat(self, body: dict[str, Any], read: Callable[[Any], bool]) -> None:
        """Chat completions; `read` gets chunks, and returns True to stop. Blocks until the end."""
        self._server.handle_chat_completions({**body, "stream": True}, read)


def load_library(gpu_layers: int) -> tuple[Any, str]:
    """xllamacpp, and the device that it will use. Raises EngineError if it cannot be loaded."""
    found = cards() if gpu_layers else ()
    blocked = driver_lacks("llm", found)
    if blocked:  # the first kernel that cannot be compiled would end the process
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    xllamacpp = cuda.import_llama()
    gpus = cuda.gpus(xllamacpp.get_device_info()) if gpu_layers else []
    if gpus:
        if not all(card.is_known_to("llm") for card in found):
            # once and before: the library lets no other thread run while it loads
            log.info("the language model is loaded on the GPU. %s", cuda.first_start())
        return xllamacpp, str(gpus[0]["name"]).lower()
    if found:
        log.warning(
            "%s is there, but the language model runs on the CPU: %s. "
            "LLM_OPTION=gpu_layers=0 silences this.",
            found[0].name,
            blocked or cuda.llama_lacks(),
        )
    return xllamacpp, "cpu"


class AnswerReader:
    """Chunks of chat completions to pieces of an answer.

    `names` are those of the functions that there are; empty = none. `begun` is what was written
    before. `give` returns True once the reply was cancelled.
    """

    def __init__(self, names: list[str], begun: str, give: Give) -> None:
        self._give, self._calls = give, Calls()
        self._written = WrittenCalls(names) if names else None
        self._failure: str | None = None
        self._finished = False
        self._pieces = [begun]
        self.read = False  # all of the prompt
        self.stopped = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def feed(self, chunks: Any) -> bool:
        """True: stop."""
        for chunk in chunks if isinstance(chunks, list) else [chunks]:
            if "error" in chunk:
                if not self._finished:
                    self._failure = explain(chunk["error"])
                return True
            choice = (chunk.get("choices") or [{}])[0]
            self._finished = self._finished or bool(choice.get("finish_reason"))
            delta = choice.get("delta", {})
            self._calls.feed(delta.get("tool_calls"))
            if delta.get("reasoning_content"):
                self._give(Thought())
            # progress without text, too, is a chance to cancel
            self.stopped = self._give(self._piece(chunk, delta)) and not self._finished
            if self._written and self._written.call:
                self._finished = True
                return True
        return self.stopped

    def _piece(self, chunk: Any, delta: Any) -> str:
        text: str = delta.get("content") or ""
        self._pieces.append(text)
        progress = chunk.get("prompt_progress")
        self.read = self.read or not progress or progress["processed"] >= progress["total"]
        if progress:
            return Progress()
        return self._written.feed(text) if self._written else text

    def end(self) -> None:
        """After the last chunk: what was held back, and calls. Raises EngineError."""
        if self.stopped:
            return
        if self._failure is not None or not self._finished:
            raise EngineError(
                self._failure or "the language model stopped in the middle of its answer; ask again"
            )
        if self._written is not None:
            self._give(self._written.rest())
            for call in [self._written.call] if self._written.call else self._calls.whole():
                self._give(call)


def explain(error: Any) -> str:
    text = str(error.get("message", error) if isinstance(error, dict) else error)
    if "context" in text.lower():
        return f"that was more text than the language model can hold; {MORE}"
    return f"the language model refused the dialogue: {text}"
