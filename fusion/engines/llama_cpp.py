"""A GGUF model inside this process: llama.cpp's own server, batching all callers, by xllamacpp.

Threads decide everything on a small machine. ggml's threads come from libgomp, which lets them spin while they wait
for each other: beside other work, those who wait then hold the cores of those who work. `SPIN` bounds that. On 2 cores,
a model of 0.5 billion parameters (tokens a second; ms to the first token of a prepared question of 12 tokens):

| threads, spins | quiet | beside one busy loop | beside one at nice 10 |
| --- | --- | --- | --- |
| 1, libgomp's default | 28; 118 | 28; 368 | 28; 136 |
| 2, libgomp's default | 45; 120 | 14; 399 | 38; 143 |
| 1, 300 | 27; 129 | 28; 245 | 28; 219 |
| 2, 300 | 41; 123 | 22; 242 | 25; 206 |
| 2, 100 | 35; 126 | 24; 236 | 28; 216 |
| 2, 1000 | 43; 124 | 18; 250 | 26; 243 |

The prompt cache decides the rest: what was read stays in its slot, and the next reply of the same dialogue reads only
what is new: 9 ms a token, five of them the template's after the last word; all else takes 2 ms.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fusion.engines import EngineError, ToolCall
from fusion.engines.chat import Calls, Lines, WrittenCalls, messages
from fusion.engines.llama_pace import Pace
from fusion.engines.llama_slots import Slot, Slots
from fusion.engines.pump import PULSE_S, pieces

FULL_DIALOGUES = 4  # dialogues of full length that fit into memory at once; shorter ones are many more
BYTES_PER_TOKEN, TOKENS_PER_LINE = 3, 8  # on the safe side: English has 4.3 bytes a token
GIVE_UP_S = 20.0  # of waiting for a slot
WARM_WAIT_S = 0.5  # between two looks whether somebody is served
TOOLS = "tools"  # the role of a line that no model sees: what it may use stands in the prompt, and so belongs to what a slot has read
SPIN = "300"  # turns of a waiting thread before it sleeps; libgomp's default is hundreds of thousands


class LlamaCpp:
    """`model` is a .gguf file; its own chat template is used.

    `context` is the length of one dialogue in tokens, reply included: of longer ones the oldest lines are left out.
    `threads` is the number of cores of this machine, from which the numbers for decoding and for prompts follow;
    `decode_threads` and `prompt_threads` overrule them. `gpu_layers` -1 puts on a GPU what fits.
    """

    tools = True

    def __init__(self, *, model: str, context: int = 2048, parallel: int = 8, threads: int = 2, decode_threads: int = 0,
                 prompt_threads: int = 0, gpu_layers: int = -1) -> None:
        path = Path(model)
        if not path.is_file() or path.open("rb").read(4) != b"GGUF":
            raise EngineError(f"{model} is not a GGUF model file; delete it and start again, or choose another with LLM_MODEL")
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", SPIN)  # read once, when the library below loads libgomp
        import xllamacpp

        self.model, self.parallel, self.context = path.stem, parallel, context
        gpus = [d["name"] for d in xllamacpp.get_device_info() if "GPU" in str(d.get("type", ""))]
        self.device = str(gpus[0]).lower() if gpus and gpu_layers else "cpu"
        params = xllamacpp.CommonParams()
        params.model.path, params.n_gpu_layers = model, gpu_layers
        params.use_jinja = True  # templates as models bring them; functions need that
        params.n_ctx, params.kv_unified = context * FULL_DIALOGUES, True
        params.n_parallel = parallel * 2  # slots cost nothing and keep the dialogues of those who listen
        params.cpuparams.n_threads = decode_threads or decoding_threads(threads)
        params.cpuparams_batch.n_threads = prompt_threads or min(max(threads, 1), 16)
        # Small batches cost 8 % of prompt speed, and let others speak and a closed reply stop twice a second.
        few_cores = self.device == "cpu" and threads <= 4
        params.n_batch = params.n_ubatch = 64 if few_cores else 512
        params.cache_ram_mib, params.verbosity, params.ui, params.endpoint_slots, params.n_threads_http = 0, -1, False, False, 1
        params.api_keys = [secrets.token_hex(32)]  # the library always opens a loopback port: nobody knows its key
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(f"{model} cannot be loaded ({error}): it is damaged, of a kind that xllamacpp does not know, "
                              "or too large for this memory; choose another with LLM_MODEL") from error
        self._slots, self._pace = Slots(params.n_parallel, params.n_ctx), Pace(1 if few_cores else parallel)

    def reply(self, lines: Lines, *, max_tokens: int, temperature: float, tools: str = "") -> Iterator[str | ToolCall]:
        lines = fitting([(TOOLS, tools), *lines] if tools else lines, self.context - max_tokens)
        yield from self._run(lines, max_tokens, temperature, preparing=False)

    def prepare(self, lines: Lines, tools: str = "") -> None:
        """Blocks until the lines are read, unless all but a few words of them were. What follows is always a user's line."""
        if not lines or lines[-1][0] != "user":
            lines = (*lines, ("user", ""))
        if tools:
            lines = ((TOOLS, tools), *lines)
        if self._slots.known(fitting(lines, self.context)):
            return
        for _ in self._run(fitting(lines, self.context), 0, 0.0, preparing=True):
            continue

    def warm(self, lines: Lines) -> None:
        """Read what all dialogues begin with into slots that nobody used yet, while nobody is served.

        Otherwise everyone's first words wait for it: eight callers who came at once waited for up to 5 s on 2 cores.
        """
        while (slot := self._slots.take_cold(lines)) is not None:
            if isinstance(slot, Slot):
                try:
                    self._generate(slot, lines, "", 0, 0.0, lambda piece: False)
                finally:
                    self._slots.release(slot)
            else:
                time.sleep(WARM_WAIT_S)

    def _run(self, lines: Lines, max_tokens: int, temperature: float, preparing: bool) -> Iterator[str | ToolCall]:
        slot = yield from self._slot(lines, tokens_of(lines) + max_tokens, preparing)

        def work(give: Callable[[str | ToolCall], bool]) -> None:
            try:
                if preparing:
                    self._generate(slot, lines, "", 0, 0.0, give)
                else:
                    self._write(slot, lines, max_tokens, temperature, give)
            finally:
                self._slots.release(slot)

        try:
            yield from pieces(work, "")
        finally:
            self._slots.leave(slot)

    def _write(self, slot: Slot, lines: Lines, max_tokens: int, temperature: float, give: Callable[[str | ToolCall], bool]) -> None:
        """A reply, in instalments while others are more urgent: its slot keeps what was read and written, so going on costs one token.

        Half a call cannot go on: with tools it is written in one go, once it has begun.
        """
        writing = self._pace.begin()
        whole = bool(lines) and lines[0][0] == TOOLS

        def wrote(piece: str | ToolCall) -> bool:
            if isinstance(piece, str):
                writing.wrote(piece)
            return give(piece) or (writing.must_wait and not whole)

        try:
            while not give(""):
                if writing.must_wait:
                    self._pace.wait(PULSE_S)
                elif self._generate(slot, lines, writing.text, max_tokens - writing.pieces, temperature, wrote):
                    return
        finally:
            writing.end()

    def _slot(self, lines: Lines, need: int, preparing: bool) -> Any:
        """Generator of "" that returns a slot."""
        began = time.monotonic()
        while (slot := self._slots.take(lines, need, time.monotonic() - began, preparing)) is None:
            if time.monotonic() - began > GIVE_UP_S:
                raise EngineError("the language model has too many callers at once; try again in a moment")
            with self._slots.changed:
                self._slots.changed.wait(PULSE_S)
            yield ""
        return slot

    def _generate(self, slot: Slot, lines: Lines, begun: str, max_tokens: int, temperature: float,
                  give: Callable[[str | ToolCall], bool]) -> bool:
        """Write the answer to `lines`, or the rest of the one that was `begun`. False: `give` said that it shall stop."""
        tools = json.loads(lines[0][1]) if lines and lines[0][0] == TOOLS else {}
        asked, calls = lines[1 if tools else 0 :], Calls()
        written = WrittenCalls([tool["function"]["name"] for tool in tools["tools"]]) if tools else None
        ended: list[str] = []
        said = [begun]
        stopped = False

        def receive(chunks: Any) -> bool:
            nonlocal stopped
            for chunk in chunks if isinstance(chunks, list) else [chunks]:
                if "error" in chunk:
                    ended.append(explain(chunk["error"]))
                    return True
                choice = (chunk.get("choices") or [{}])[0]
                if choice.get("finish_reason"):
                    ended.append("")
                calls.feed(choice.get("delta", {}).get("tool_calls"))
                text = choice.get("delta", {}).get("content") or ""
                said.append(text)
                heard = written.feed(text) if written else text
                stopped = give(heard) and not ended  # progress without text, too, asks whether somebody listens
                if written and written.call:
                    ended.append("")
                    return True
            return stopped

        self._server.handle_chat_completions({
            "messages": messages((*asked, ("assistant", begun)) if begun else asked), "max_tokens": max_tokens, **tools,
            "temperature": temperature, "stream": True, "cache_prompt": True, "return_progress": True, "id_slot": slot.id,
            "chat_template_kwargs": {"enable_thinking": False},  # a voice cannot wait for thoughts
        }, receive)
        self._slots.answered(slot, "".join(said))
        if not stopped and (not ended or ended[0]):
            raise EngineError(ended[0] if ended else "the language model stopped in the middle of its answer; ask again")
        if written and not stopped:
            give(written.rest())
            for call in [written.call] if written.call else calls.whole():
                give(call)
        return not stopped


def decoding_threads(cores: int) -> int:
    """All of up to four cores, then half of them (the other half are mostly siblings), at most 8."""
    return max(1, min(cores, max(4, min(8, cores // 2))))


def tokens_of(lines: Lines) -> int:
    return sum(len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + TOKENS_PER_LINE for _, text in lines)


def fitting(lines: Lines, budget: int) -> Lines:
    """`lines` within `budget` tokens: never without the instructions and the newest line, else the oldest are left out.

    They go in steps of half the budget, because each time that the beginning changes all of it must be read again.
    """
    head = next((at for at, (role, _) in enumerate(lines) if role not in (TOOLS, "system")), len(lines))
    excess = tokens_of(lines) - budget
    if excess <= 0:
        return lines
    step = max(1, budget // 2)
    goal, gone, first = -(-excess // step) * step, 0, head
    while first < len(lines) - 1 and (gone < goal or lines[first][0] != "user"):
        gone += tokens_of(lines[first : first + 1])
        first += 1
    return (*lines[:head], *lines[first:])


def explain(error: Any) -> str:
    text = str(error.get("message", error) if isinstance(error, dict) else error)
    if "context" in text.lower():
        return "that was more text than the language model can hold; say less at once, or raise it with LLM_OPTION=context=4096"
    return f"the language model refused the dialogue: {text}"
