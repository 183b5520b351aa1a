"""A scripted language model behind the recorded signatures of tensorrt_llm: the Executor of the
bindings, and ModelRunner.

Its answers depend on the question in the prompt, which is read back from the token ids. It is as
strict as the library where the signatures say nothing: types, limits of the engine, and which
thread may do what.

| word in the question | what happens |
| --- | --- |
| forever | tokens without end, until cancelled |
| silent | nothing at all, until cancelled |
| explode | an error for this request only |
| breakdown | the engine breaks down for all requests |
| lost | an error for this request that says that the GPU is lost |
| (no question) | nothing but the end: so the engine tries its longest dialogue when it is loaded |
| anything else | "You said <question>." |
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import fake_gpu
from small_tokenizers import tokenizer_for
from tokenizers import Tokenizer

EXECUTOR = "tensorrt_llm.bindings.executor"
ARCHITECTURES = {
    "phi-2": "PhiForCausalLM",
    "phi-3": "Phi3ForCausalLM",
    "chatml": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
}
FOLDERS = {
    "phi-2": "phi-2",
    "phi-3": "phi-3-mini-4k-instruct",
    "chatml": "openhermes-2.5-mistral-7b",
    "mistral": "mistral-7b-instruct-v0.2",
}
ENDS = {"phi-2": "<|endoftext|>", "phi-3": "<|end|>", "chatml": "<|im_end|>", "mistral": "</s>"}
QUESTIONS = {
    "phi-2": r"Instruct:(.*?)\nOutput:",
    "phi-3": r"<\|user\|>(.*?)<\|end\|>",
    "chatml": r"<\|im_start\|>\s*user\s(.*?)<\|im_end\|>",
    "mistral": r"\[INST\](.*?)\[/INST\]",
}


def write_folder(parent: Path, template: str, **build: Any) -> Path:
    """An engine folder as the build scripts leave it; `build` overrules the build's options, and
    the model's positions.
    """
    folder = parent / FOLDERS[template]
    folder.mkdir(parents=True)
    plugins = {
        "gpt_attention_plugin": "float16",
        "paged_kv_cache": True,
        "remove_input_padding": True,
        "tokens_per_block": 64,
        "use_paged_context_fmha": False,
    }
    limits = {"max_batch_size": 8, "max_input_len": 300, "max_output_len": 100, "max_beam_width": 1}
    plugins |= {name: value for name, value in build.items() if name in plugins}
    limits |= {name: value for name, value in build.items() if name in limits}
    config = {
        "version": "0.10.0",
        "pretrained_config": {
            "architecture": ARCHITECTURES[template],
            "max_position_embeddings": build.get("max_position_embeddings", 4096),
        },
        "build_config": {**limits, "plugin_config": plugins},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "rank0.engine").write_bytes(b"plan")
    tokenizer_for(template).save(str(folder / "tokenizer.json"))
    return folder


@dataclass
class Live:
    """A request that is being answered."""

    question: str
    answer: list[int]  # what is still to come
    room: int  # tokens that may still be made
    made: int = 0
    cancelled: bool = False


@dataclass
class Machine:
    """The scripted model. `says_end`: it hands out the end token too. `live`: requests by id."""

    gpu: fake_gpu.Fake
    template: str
    tokenizer: Tokenizer
    config: dict[str, Any]
    says_end: bool = False
    answer: str = "You said {question}."
    prompts: list[str] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)  # tokens that were asked for, for each prompt
    # lengths of prompts without a question, and their room
    tried: list[tuple[int, int]] = field(default_factory=list)
    live: dict[int, Live] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False
    reading: int = 0
    # tokens that the Executor makes for each request, where a test must be faster than it
    allowed: float = float("inf")

    def allow(self, tokens: float) -> None:
        with self.changed:
            self.allowed = tokens
            self.changed.notify_all()

    def moves(self, one: Live) -> bool:
        return one.cancelled or ("silent" not in one.question and one.made < self.allowed)

    @property
    def end(self) -> int:
        return self.tokenizer.token_to_id(ENDS[self.template])

    def tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def begin(self, ids: list[int], room: int) -> Live:
        assert all(type(id) is int for id in ids), "ids are plain integers"
        assert type(room) is int and room >= 1
        assert len(ids) <= self.config["max_input_len"]
        assert len(ids) + room <= self.config["max_input_len"] + self.config["max_output_len"]
        prompt = self.tokenizer.decode(ids, skip_special_tokens=False)
        asked = re.findall(QUESTIONS[self.template], prompt, re.DOTALL)
        if not asked:
            self.tried.append((len(ids), room))
            return Live("", [self.end], room)
        # Mistral reads its instructions before it
        question = asked[-1].rpartition("\n\n")[2].strip()
        self.prompts.append(prompt)
        self.rooms.append(room)
        text = (
            " ha" * 5000
            if "forever" in question
            else self.answer.format(question=question.rstrip("?."))
        )
        return Live(question, [*self.tokens(text), self.end], room)


@contextmanager
def machine(template: str, folder: Path, **settings: Any) -> Iterator[Machine]:
    """The fakes installed, with a scripted model behind both runners."""
    config = json.loads((folder / "config.json").read_text())["build_config"]
    with fake_gpu.installed("tensorrt_llm", "torch") as gpu:
        made = Machine(
            gpu, template, Tokenizer.from_file(str(folder / "tokenizer.json")), config, **settings
        )
        behave_as_executor(made)
        behave_as_runner(made)
        yield made


# --- tensorrt_llm.bindings.executor -------------------------------------------------------------


def behave_as_executor(m: Machine) -> None:
    on = m.gpu.on

    @on(f"{EXECUTOR}.Executor")
    def build(this: Any, model_path: str, model_type: Any, executor_config: Any) -> None:
        assert type(model_path) is str and model_type.name == "DECODER_ONLY"
        cache = executor_config.kv_cache_config
        assert 0 < cache.free_gpu_memory_fraction < 0.9 and cache.max_tokens, (
            "unbounded, it takes 90 % of the free memory"
        )
        assert not cache.enable_block_reuse or m.config["plugin_config"]["use_paged_context_fmha"]

    @on(f"{EXECUTOR}.Request")
    def request(this: Any, stop_words: Any, **rest: Any) -> None:
        assert stop_words is None or all(type(id) is int for word in stop_words for id in word)

    @on(f"{EXECUTOR}.Executor.enqueue_request")
    def enqueue(this: Any, request: Any) -> int:
        with m.changed:
            assert not m.closed
            one = m.begin(request.input_token_ids, request.max_new_tokens)
            id = 99 + len(m.prompts)
            m.live[id] = one
            assert request.streaming and request.end_id == m.end
            m.changed.notify_all()
            return id

    @on(f"{EXECUTOR}.Executor.cancel_request")
    def cancel(this: Any, id: int) -> None:
        assert type(id) is int
        with m.changed:
            if id in m.live:
                m.live[id].cancelled = True
            m.changed.notify_all()

    @on(f"{EXECUTOR}.Executor.shutdown")
    def shutdown(this: Any) -> None:
        with m.changed:
            assert all(one.cancelled for one in m.live.values()), (
                "it waits until running requests end"
            )
            m.closed = True

    @on(f"{EXECUTOR}.Executor.await_responses")
    def read(this: Any, timeout: Any) -> list[Any]:
        assert isinstance(timeout, timedelta)
        with m.changed:
            assert m.reading == 0, "one reader"
            m.reading += 1
            m.changed.wait_for(lambda: any(map(m.moves, m.live.values())), timeout.total_seconds())
            m.reading -= 1
            if any("breakdown" in one.question for one in m.live.values()):
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return [
                response for id in list(m.live) if m.moves(m.live[id]) for response in step(m, id)
            ]

    on(f"{EXECUTOR}.Response.has_error")(lambda this: "_error_msg" in vars(this))


def step(m: Machine, id: int) -> list[Any]:
    """One request, one token further."""
    from tensorrt_llm.bindings import executor

    def response(tokens: list[int], final: bool) -> Any:
        result = executor.Result()
        result.is_final, result.output_token_ids = final, [tokens]
        return executor.Response(request_id=id, result=result)

    one = m.live[id]
    if "explode" in one.question:
        del m.live[id]
        return [executor.Response(request_id=id, error_msg="on fire")]
    if "lost" in one.question:
        del m.live[id]
        return [
            executor.Response(
                request_id=id,
                error_msg="Encountered an error in forwardAsync function: [TensorRT-LLM][ERROR] "
                "CUDA runtime error in cudaEventQuery: an illegal memory access",
            )
        ]
    if one.cancelled:
        del m.live[id]
        return [response(one.answer[:1], False), response([], True)]  # a late token, then the end
    token, one.room, one.made = one.answer.pop(0), one.room - 1, one.made + 1
    if token == m.end:
        del m.live[id]
        return [response([token] if m.says_end else [], True)]
    if one.room == 0:
        del m.live[id]
    return [response([token], one.room == 0)]


# --- tensorrt_llm.runtime.ModelRunner -----------------------------------------------------------


def behave_as_runner(m: Machine) -> None:
    @m.gpu.on("tensorrt_llm.runtime.ModelRunner.from_dir")
    def from_dir(cls: Any, engine_dir: str, **rest: Any) -> Any:
        assert type(engine_dir) is str
        runner = m.gpu.new("tensorrt_llm.runtime.ModelRunner")
        runner.thread = threading.get_ident()
        return runner

    @m.gpu.on("tensorrt_llm.runtime.ModelRunner.generate")
    def generate(
        runner: Any,
        batch_input_ids: Any,
        sampling_config: Any,
        streaming: bool,
        kwargs: dict[str, Any],
        **rest: Any,
    ) -> Any:
        import torch

        assert (
            streaming
            and not kwargs
            and len(batch_input_ids) == 1
            and batch_input_ids[0].dtype == torch.int32
        )
        assert type(sampling_config)._dotted == "tensorrt_llm.runtime.SamplingConfig"
        stops = sampling_config.stop_words_list
        assert (
            stops.dtype == torch.int32
            and stops.is_cuda
            and stops.is_contiguous()
            and stops.shape[:2] == (1, 2)
        )
        return steps(m, runner, batch_input_ids[0].tolist(), sampling_config)


def steps(m: Machine, runner: Any, ids: list[int], config: Any) -> Iterator[dict[str, Any]]:
    """One item a token. Both tensors are live: the next step writes into them."""
    import torch

    one = m.begin(ids, config.max_new_tokens)
    output = torch.tensor(
        [[ids + [config.end_id] * config.max_new_tokens]], dtype=torch.int32, device="cuda"
    )
    lengths = torch.tensor([[len(ids)]], dtype=torch.int32, device="cuda")
    item = {"output_ids": output} | (
        {"sequence_lengths": lengths} if config.output_sequence_lengths else {}
    )
    m.live[len(m.prompts)] = one
    try:
        for at in range(config.max_new_tokens):
            assert threading.get_ident() == runner.thread, (
                "a session belongs to the thread that built it"
            )
            if "explode" in one.question:
                raise RuntimeError("on fire")
            if "breakdown" in one.question:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            token = one.answer.pop(0)
            output[0, 0, len(ids) + at] = token
            lengths[0, 0] = len(ids) + at + (token != m.end or m.says_end)
            yield item if config.return_dict else output
            if token == m.end:
                return
        yield item if config.return_dict else output  # no stop: one item more
    finally:
        one.cancelled = True
