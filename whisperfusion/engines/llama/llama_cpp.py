"""A GGUF model inside this process: llama.cpp's own server, batching all callers, by xllamacpp.

Threads decide everything on a small machine. ggml's threads come from libgomp, which lets them spin
while they wait for each other: beside other work, those who wait then hold the cores of those who
work. `server.SPIN` bounds that. On 2 cores, a model of 0.5 billion parameters (tokens a second; ms
to the first token of a prefilled question of 12 tokens):

| threads, spins | quiet | beside one busy loop | beside one at nice 10 |
| --- | --- | --- | --- |
| 1, libgomp's default | 28; 118 | 28; 368 | 28; 136 |
| 2, libgomp's default | 45; 120 | 14; 399 | 38; 143 |
| 1, 300 | 27; 129 | 28; 245 | 28; 219 |
| 2, 300 | 41; 123 | 22; 242 | 25; 206 |
| 2, 100 | 35; 126 | 24; 236 | 28; 216 |
| 2, 1000 | 43; 124 | 18; 250 | 26; 243 |

The prompt cache decides the rest: what was read stays in its slot, and the next reply of the same
dialogue reads only what is new: 9 ms a token, five of them the template's after the last word; all
else takes 2 ms.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whisperfusion.engines.llama.fitting import LEAST_ANSWER, TOOLS, Fitting
from whisperfusion.engines.llama.pace import Pace, Writing
from whisperfusion.engines.llama.server import AnswerReader, Server
from whisperfusion.engines.llama.slots import Slot, Slots
from whisperfusion.engines.llama.tokens import THINKS_NOT, Tokens
from whisperfusion.engines.protocols import ChatHistory, Progress, ToolCall
from whisperfusion.engines.pump import PULSE_S, pieces
from whisperfusion.engines.remote.chat import messages
from whisperfusion.errors import EngineError, Refused
from whisperfusion.tools import NO_TOOLS, Tools

# dialogues of full length that fit into memory at once; shorter ones are many more
FULL_DIALOGUES = 4
SMALL_BYTES = 3_000_000_000  # of a file: 4 billion parameters in 4 bits; 7 billion have 4.4
LONG = 400  # tokens still to be read: a second on 2 cores
# of waiting for memory and for its turn; four callers with full dialogues keep 2 cores for half of
# it
GIVE_UP_S = 60.0
PREFILL_WAIT_S = 1.0  # of waiting for memory or replies to read ahead; nothing is lost but time
WARM_UP_WAIT_S = 0.5  # between two looks whether a caller is served
BUSY = (
    "the language model was busy with the long dialogues of other callers and could not begin "
    f"within {GIVE_UP_S:g} s; ask again in a moment"
)
FULL = "too many callers with long dialogues wait for the language model; ask again in a moment"
# replies that begin at the same time on few cores. Eight callers on 2 cores, from the words to the
# first token and on to the first clause, 95th percentile: one 915 and 570 ms, two 570 and 760,
# three 540 and 1000
AT_ONCE = 2
NOTHING_YET: str | ToolCall = ""


@dataclass(frozen=True)
class Options:
    """Of one answer. `schema`: JSON that it has to be."""

    max_tokens: int
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None

    def format(self) -> dict[str, Any]:
        """The field "response_format" of a request, if there is one."""
        if self.schema is None:
            return {}
        schema = {"name": "answer", "schema": self.schema}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}


PREFILL = Options(0)


class LlamaCpp:
    """`model` is a .gguf file; its own chat template is used.

    `context` is the length of one dialogue in tokens, reply included: of longer ones the oldest
    lines are left out. `threads` is the number of cores of this machine, from which the numbers for
    decoding and for prompts follow; `decode_threads` and `prompt_threads` overrule them.
    `gpu_layers` -1 puts on a GPU what fits.
    """

    accepts_tools = True

    def __init__(
        self,
        *,
        model: str,
        context: int = 2048,
        parallel: int = 8,
        threads: int = 2,
        decode_threads: int | None = None,
        prompt_threads: int | None = None,
        gpu_layers: int = -1,
    ) -> None:
        path = Path(model)
        if not path.is_file() or path.open("rb").read(4) != b"GGUF":
            raise EngineError(
                f"{model} is not a GGUF model file; delete it and start again, or choose another "
                "with LLM_MODEL"
            )
        self.model, self.context = path.stem, context
        self.small = path.stat().st_size < SMALL_BYTES
        # so long prompts that wait leave threads to short ones
        self.parallel, self._most_waiting = parallel * 2, parallel
        self._server = Server(
            model=model,
            context=context * FULL_DIALOGUES,
            slots=self.parallel,
            decode_threads=decode_threads or decoding_threads(threads),
            prompt_threads=prompt_threads or min(max(threads, 1), 16),
            few_cores=threads <= 4,
            gpu_layers=gpu_layers,
        )
        self.device = self._server.device
        self._tokens = Tokens(self._server.address, self._server.key)
        self._fitting = Fitting(self._tokens, context)
        self._slots = Slots(self.parallel, context * FULL_DIALOGUES)
        self._pace = Pace(AT_ONCE if self._server.few_cores else parallel)
        # those with long prompts that wait for memory, in the order in which they came
        self._line: list[object] = []

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Iterator[str | ToolCall]:
        max_tokens = max(1, min(max_tokens, self.context // 2))
        yield from self._run(
            self._fitting.fit(history, tools, self.context - max_tokens),
            Options(max_tokens, temperature),
        )

    def stream_json(
        self, history: ChatHistory, schema: Mapping[str, Any], *, max_tokens: int
    ) -> Iterator[str]:
        max_tokens = max(1, min(max_tokens, self.context // 2))
        lines = self._fitting.fit(history, NO_TOOLS, self.context - max_tokens)
        for piece in self._run(lines, Options(max_tokens, schema=schema)):
            if isinstance(piece, str):
                yield piece

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]:
        """Nothing, when a slot has read all but a few words of it already.

        What follows is always a user's message. Replies that begin are more urgent: each chunk of a
        prompt delays all tokens that are written meanwhile, by 0.1 to 0.3 s on 2 cores. So this
        waits for them a moment, and a long history ends early when one begins.
        """
        if not history or history[-1][0] != "user":
            history = (*history, ("user", ""))
        lines = self._fitting.fit(history, tools, self.context - LEAST_ANSWER)
        if not self._slots.known(lines):
            until = time.monotonic() + PREFILL_WAIT_S
            while not self._pace.idle:
                if time.monotonic() > until:  # its thread is one that replies need
                    return
                yield ""
                self._pace.wait(PULSE_S)
            with closing(self._run(lines, PREFILL)) as work:
                for _ in work:
                    yield ""

    def warm_up(self, history: ChatHistory) -> None:
        """Prefill all unused slots, while no caller is served.

        Otherwise everyone's first words wait for it: eight callers who came at once waited for up
        to 5 s on 2 cores.
        """
        lines = self._fitting.fit(history, NO_TOOLS, self.context - LEAST_ANSWER)
        while (slot := self._slots.acquire_cold(lines, self._fitting.tokens(lines))) is not None:
            if isinstance(slot, Slot):
                try:
                    self._generate(slot, lines, "", PREFILL, lambda piece: False)
                finally:
                    self._slots.release(slot)
            else:
                time.sleep(WARM_UP_WAIT_S)

    def _run(self, lines: ChatHistory, options: Options) -> Generator[str | ToolCall, None, None]:
        prefill = options is PREFILL
        began, tokens = time.monotonic(), self._fitting.tokens(lines)
        slot = yield from self._slot(lines, tokens + options.max_tokens, prefill)
        if slot is None:
            return
        long = tokens * slot.fresh > LONG

        def work(give: Callable[[str | ToolCall], bool]) -> None:
            try:
                self._make_room(slot)
                if prefill:
                    self._generate(
                        slot,
                        lines,
                        "",
                        options,
                        lambda piece: give(piece) or long and not self._pace.idle,
                    )
                else:
                    self._write(slot, lines, options, give, self._pace.start(long), began)
            finally:
                self._slots.release(slot)

        try:
            yield from pieces(work, NOTHING_YET, skipped=lambda: self._slots.release(slot))
        finally:
            self._slots.leave(slot)

    def _make_room(self, slot: Slot) -> None:
        while slot.evicted:
            one = slot.evicted[-1]
            self._server.clear(one.id)
            slot.evicted.pop()
            self._slots.cleared(one)

    def _write(
        self,
        slot: Slot,
        lines: ChatHistory,
        options: Options,
        give: Callable[[str | ToolCall], bool],
        writing: Writing,
        waits_since: float,
    ) -> None:
        """A reply, in instalments while others are more urgent: its slot keeps what was read and
        written, so going on costs one token.

        Half a call cannot go on, nor half a grammar: those are written in one go, once begun.
        """
        whole = options.schema is not None or bool(lines) and lines[0][0] == TOOLS

        def wrote(piece: str | ToolCall) -> bool:
            if isinstance(piece, str):
                writing.wrote(piece)
            return give(piece) or (writing.must_wait and (not whole or isinstance(piece, Progress)))

        try:
            while not give("" if writing.pieces else Progress()):
                if writing.must_wait:
                    if not writing.pieces and time.monotonic() - waits_since > GIVE_UP_S:
                        raise Refused(BUSY)
                    self._pace.wait(PULSE_S)
                elif self._generate(
                    slot,
                    lines,
                    writing.text,
                    replace(options, max_tokens=options.max_tokens - writing.pieces),
                    wrote,
                ):
                    return
                else:
                    waits_since = time.monotonic()
        finally:
            writing.end()

    def _slot(
        self, lines: ChatHistory, need: int, prefill: bool
    ) -> Generator[Progress, None, Slot | None]:
        """Generator of empty pieces that returns a slot, or None: this is not worth the wait.

        Those with long prompts wait in line.
        """
        began, me = time.monotonic(), object()
        queues = self._slots.much(need) and not prefill
        if queues and len(self._line) >= self._most_waiting:
            raise Refused(FULL)
        if queues:
            self._line.append(me)
        try:
            while True:
                waited_s = time.monotonic() - began
                slot = (
                    self._slots.acquire(lines, need, waited_s, prefill)
                    if not queues or self._line[0] is me
                    else None
                )
                if slot is not None or prefill and waited_s > PREFILL_WAIT_S:
                    return slot
                if waited_s > GIVE_UP_S:
                    raise Refused(BUSY)
                with self._slots.changed:
                    self._slots.changed.wait(PULSE_S)
                yield Progress()
        finally:
            if queues:
                self._line.remove(me)

    def _generate(
        self,
        slot: Slot,
        lines: ChatHistory,
        begun: str,
        options: Options,
        give: Callable[[str | ToolCall], bool],
    ) -> bool:
        """Write the answer to `lines`, or the rest of the one that was `begun`.

        False: `give` said that it should stop.
        """
        tools = json.loads(lines[0][1]) if lines and lines[0][0] == TOOLS else {}
        asked = lines[1 if tools else 0 :]
        names = [tool["function"]["name"] for tool in tools.get("tools", ())]
        reader = AnswerReader(names, begun, give)
        self._server.stream_chat(
            {
                "messages": messages((*asked, ("assistant", begun)) if begun else asked),
                "max_tokens": options.max_tokens,
                **tools,
                **options.format(),
                "temperature": options.temperature,
                "cache_prompt": True,
                "return_progress": True,
                "id_slot": slot.id,
                "chat_template_kwargs": THINKS_NOT,
            },
            reader.feed,
        )
        self._slots.answered(slot, reader.text, reader.read)
        reader.end()
        return not reader.stopped


def decoding_threads(cores: int) -> int:
    """All of up to four cores, then half of them (the other half are mostly siblings), at most
    8.
    """
    return max(1, min(cores, max(4, min(8, cores // 2))))
