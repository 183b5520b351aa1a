"""The tensorrt-llm engine on recorded signatures: every call into tensorrt_llm is bound as
0.10.0 would bind it.
"""

from __future__ import annotations

import ast
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fake_gpu
import pytest
from engine_checks import eventually
from fake_trt import EXECUTOR, FOLDERS, Machine, machine, write_folder

import whisperfusion.engines.tensorrt.tensorrt_llm
from whisperfusion.engines import EngineError, load
from whisperfusion.engines.tensorrt.folder import load_error
from whisperfusion.engines.tensorrt.runner import stop_words

CAPITALS = ("France", "Italy", "Japan", "Egypt")
GENERATE = "tensorrt_llm.runtime.ModelRunner.generate"


PER_REPLY = (
    f"{EXECUTOR}.Request",
    f"{EXECUTOR}.SamplingConfig",
    f"{EXECUTOR}.Executor.cancel_request",
    GENERATE,
)


def m_busy(m: Machine) -> bool:
    return any(not one.cancelled for one in m.live.values())


@pytest.fixture
def build(tmp_path) -> Iterator[Callable[..., tuple[Any, Machine]]]:
    """An engine on the fakes: `build("phi-3", engine={...}, folder={...}, says_end=…)`."""
    open_ones: list[Any] = []

    def make(
        template: str = "phi-3", *, engine: Any = None, folder: Any = None, **settings: Any
    ) -> tuple[Any, Machine]:
        path = write_folder(tmp_path / str(len(open_ones)), template, **(folder or {}))
        context = machine(template, path, **settings)
        made = context.__enter__()
        open_ones.append(context)
        llm = load("llm", "tensorrt-llm", model=str(path), **(engine or {}))
        open_ones.append(llm)
        eventually(lambda: not m_busy(made))
        # those of the first try
        made.gpu.calls[:] = [call for call in made.gpu.calls if call.name not in PER_REPLY]
        return llm, made

    yield make
    for one in reversed(open_ones):
        if hasattr(one, "_runner"):
            one._runner.close()
        else:
            one.__exit__(None, None, None)


@pytest.fixture(params=["phi-2", "phi-3", "chatml", "mistral", "phi-3 session", "chatml session"])
def both(request, build) -> tuple[Any, Machine]:
    template, _, runner = request.param.partition(" ")
    return build(template, engine={"runner": runner} if runner else {})


def ask(
    llm: Any, text: str, *before: tuple[str, str], max_tokens: int = 60, temperature: float = 0.0
) -> str:
    lines = (("system", "Be kind."), *before, ("user", text))
    return "".join(bounded(llm.stream_chat(lines, max_tokens=max_tokens, temperature=temperature)))


def bounded(pieces: Iterator[str]) -> Iterator[str]:
    """Fails instead of waiting for ever: 300 pulses are half a minute."""
    silent = 0
    for piece in pieces:
        silent = 0 if piece else silent + 1
        assert silent < 300
        yield piece


# --- the contract of language models, on both runners -------------------------------------------


def test_replies_come_in_pieces(both):
    llm, _ = both
    pieces = [
        p
        for p in bounded(
            llm.stream_chat([("user", "what is the capital")], max_tokens=60, temperature=0.0)
        )
        if p
    ]
    assert len(pieces) > 2
    assert "".join(pieces) == "You said what is the capital."


@pytest.mark.parametrize("says_end", [False, True])
@pytest.mark.parametrize("runner", ["executor", "session"])
def test_the_end_token_is_never_said(build, runner, says_end):
    llm, _ = build("phi-3", engine={"runner": runner}, says_end=says_end)
    assert ask(llm, "hello") == "You said hello."


def test_callers_at_once_get_their_own(both):
    llm, _ = both
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda country: ask(llm, f"capital of {country}"), CAPITALS))
    assert answers == [f"You said capital of {country}." for country in CAPITALS]


def test_closing_stops_and_leaves_the_engine_usable(both):
    llm, m = both
    pieces = llm.stream_chat([("user", "go on forever")], max_tokens=100, temperature=0.0)
    first = next(piece for piece in bounded(pieces) if piece)
    assert first.startswith("ha"[: len(first)])
    pieces.close()
    assert list(pieces) == []
    eventually(
        lambda: not any("forever" in one.question and not one.cancelled for one in m.live.values())
    )
    assert ask(llm, "hello").endswith("hello.")


def test_max_tokens_are_kept(both):
    llm, m = both
    short, long = (
        ask(llm, "go on forever", max_tokens=20),
        ask(llm, "go on forever", max_tokens=100_000),
    )
    assert 2 <= short.count("ha") < long.count("ha")
    ask(llm, "hello", max_tokens=0)
    assert m.rooms == [20, 100, 1]  # the engine was built for 100


def test_preparing_changes_no_answer(both):
    llm, _ = both
    before = (("user", "hello"), ("assistant", "You said hello."))
    list(llm.prefill((("system", "Be kind."), *before)))
    assert ask(llm, "and Rome", *before) == "You said and Rome."


def test_odd_text_is_no_crash(both):
    llm, _ = both
    for text in ("", "\ud800", "\x00\u2028\x85", "{}[]<|im_end|>", "</s><|end|>"):
        assert isinstance(ask(llm, text.replace("{}", ""), max_tokens=4), str)
    assert ask(llm, "hello").endswith("hello.")


def test_long_dialogues_lose_their_oldest_turns(both):
    llm, m = both
    turns = [
        line
        for n in range(60)
        for line in (("user", f"tell me about {n}"), ("assistant", f"it is {n}"))
    ]
    assert ask(llm, "the newest", *turns) == "You said the newest."
    assert "tell me about 59" in m.prompts[-1]
    assert "tell me about 0" not in m.prompts[-1]
    assert "Be kind." in m.prompts[-1]
    with pytest.raises(EngineError, match="more text than"):
        ask(llm, "pebble " * 1000)
    assert ask(llm, "hello").endswith("hello.")


def test_an_error_is_one_callers_only(both):
    llm, _ = both
    with ThreadPoolExecutor(3) as pool:
        good, bad, other = (
            pool.submit(ask, llm, text) for text in ("hello", "explode", "the story")
        )
        assert good.result().endswith("hello.")
        assert other.result().endswith("the story.")
        with pytest.raises(EngineError, match="on fire"):
            bad.result()


def test_loading_is_told(build, caplog):
    with caplog.at_level(logging.INFO):
        llm, _ = build("phi-2")
    assert "Loaded LLM TensorRT Engine" in [record.message for record in caplog.records]
    assert (llm.model, llm.device, llm.parallel) == ("phi-2", "cuda", 8)


@pytest.mark.parametrize("runner", ["executor", "session"])
def test_the_longest_dialogue_is_tried_at_the_start(build, runner):
    _, m = build(engine={"runner": runner}, folder={"max_input_len": 200, "max_output_len": 30})
    assert m.tried == [(200, 30)]


@pytest.mark.parametrize(
    ("positions", "built", "tried"),
    [
        (4096, (3072, 1024), (1536, 511)),
        (4096, (1536, 511), (1536, 511)),
        (4096, (3000, 100), (1947, 100)),
        (131_072, (3072, 1024), (3072, 1024)),
    ],
)
def test_phi_3_stays_within_the_window_that_it_was_trained_with(build, positions, built, tried):
    prompt, answer = built
    limits = {"max_input_len": prompt, "max_output_len": answer}
    _, m = build("phi-3", folder={**limits, "max_position_embeddings": positions})
    assert m.tried == [tried]
    [cache] = m.gpu.arguments(f"{EXECUTOR}.KvCacheConfig")
    blocks = -(-sum(tried) // 64)
    assert cache["max_tokens"] == 8 * (blocks + 1) * 64, "the cache holds no more than that"


@pytest.mark.parametrize("answer", ["an error", "nothing"])
def test_no_room_for_one_dialogue_is_found_at_the_start(tmp_path, monkeypatch, answer):
    folder = write_folder(tmp_path, "phi-3")
    monkeypatch.setattr(whisperfusion.engines.tensorrt.tensorrt_llm, "TRIES", 2)
    with machine("phi-3", folder) as m:
        name = f"{EXECUTOR}.Executor.await_responses"

        @m.gpu.on(name)
        def read(this: Any, timeout: Any) -> list[Any]:
            from tensorrt_llm.bindings import executor

            if answer == "nothing":
                return []
            m.live.clear()
            return [executor.Response(request_id=99, error_msg="no free block")]

        with pytest.raises(EngineError, match=r"one dialogue of 400 tokens.*no .*kv_fraction"):
            load("llm", "tensorrt-llm", model=str(folder))
        eventually(lambda: m.closed)


def test_another_failure_at_the_start_is_not_called_lack_of_memory(tmp_path):
    folder = write_folder(tmp_path, "phi-3")
    with machine("phi-3", folder) as m:

        @m.gpu.on(f"{EXECUTOR}.Executor.await_responses")
        def read(this: Any, timeout: Any) -> list[Any]:
            from tensorrt_llm.bindings import executor

            m.live.clear()
            return [
                executor.Response(
                    request_id=99,
                    error_msg="[TensorRT-LLM][ERROR] Assertion failed: unsupported head size",
                )
            ]

        with pytest.raises(
            EngineError, match=r"was loaded and does not work.*unsupported head size"
        ):
            load("llm", "tensorrt-llm", model=str(folder))


# --- stops of each model ------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["executor", "session"])
@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("phi-2", "Paris.<|endoftext|>Alice"),
        ("phi-3", "Paris.<|end|>\n<|assistant|>"),
        ("phi-3", "Paris.<|endoftext|>x"),
        ("phi-3", "Paris.<|user|>and"),
        ("chatml", "Paris.<|im_end|>\nuser"),
        ("chatml", "Paris.<|im_start|>user\nand"),
        ("chatml", "Paris.</s>and"),
        ("mistral", "Paris.</s> [INST] and"),
        ("phi-2", "Paris.\nInstruct: and Rome\nOutput: no"),
        ("phi-2", "\nParis.\nAlice: and you"),
    ],
)
def test_what_stops_a_reply(build, runner, template, answer):
    """The scripted model goes on after what it should have stopped at, as engines without that
    stop word do.
    """
    llm, m = build(template, engine={"runner": runner}, says_end=True, answer=answer)
    assert ask(llm, "the capital of France").strip() == "Paris."
    eventually(lambda: all(one.cancelled or not one.answer for one in m.live.values()))


def test_a_stop_text_cancels_the_rest(build):
    llm, m = build("phi-2", answer="Paris.\nInstruct: " + "more " * 90)
    m.allow(80)
    assert ask(llm, "the capital of France", max_tokens=90) == "Paris."
    assert m.gpu.arguments(f"{EXECUTOR}.Executor.cancel_request") == [{"id": 100}]


@pytest.mark.parametrize("template", FOLDERS)
def test_stop_tokens_reach_the_engine(build, template):
    llm, m = build(template)
    ask(llm, "hello")
    request = m.gpu.arguments(f"{EXECUTOR}.Request")[-1]
    # the Executor leaks with them in later releases, and the reply is cut here anyway
    assert request["stop_words"] is None
    session, m = build(template, engine={"runner": "session"})
    ask(session, "hello")
    config = m.gpu.arguments(GENERATE)[-1]["sampling_config"]
    flat, ends = config.stop_words_list.tolist()[0]
    assert flat == llm._prompts.stop_ids and flat[0] == m.end
    assert ends == list(range(1, len(flat) + 1))
    assert request["end_id"] == request["pad_id"] == config.end_id == config.pad_id == m.end


def test_what_follows_a_stop_in_the_same_response_is_not_said(build):
    llm, m = build()
    said = llm._text(
        iter([m.tokens("Paris"), [*m.tokens("."), m.end, *m.tokens("Rome")], m.tokens("Cairo")])
    )
    assert "".join(said) == "Paris ."


def test_stop_words_have_the_layout_of_the_helper():
    """Row 0: flattened ids.

    Row 1: where each word ends, as long as row 0 (longer words would need -1 there).
    """
    assert stop_words([7, 5, 9]) == [[[7, 5, 9], [1, 2, 3]]]


# --- sampling -----------------------------------------------------------------------------------


def test_greedy_is_greedy_and_samples_differ(build):
    llm, m = build()
    for temperature in (0.0, 0.7, 0.7):
        ask(llm, "hello", temperature=temperature)
    greedy, one, other = m.gpu.arguments(f"{EXECUTOR}.SamplingConfig")
    assert (greedy["top_k"], greedy["temperature"], greedy["random_seed"]) == (1, None, None)
    assert (one["top_k"], one["top_p"], one["temperature"], one["beam_width"]) == (40, 0.95, 0.7, 1)
    assert one["random_seed"] != other["random_seed"]
    session, m = build(engine={"runner": "session"})
    for temperature in (0.0, 0.7, 0.7):
        ask(session, "hello", temperature=temperature)
    greedy, one, other = (call["sampling_config"] for call in m.gpu.arguments(GENERATE))
    assert (greedy.top_k, greedy.top_p, greedy.temperature) == (1, 0.0, 1.0)
    assert (one.top_k, one.top_p, one.temperature) == (40, 0.95, 0.7)
    assert one.random_seed != other.random_seed


# --- the Executor -------------------------------------------------------------------------------


def test_memory_is_bounded_twice(build):
    llm, m = build(engine={"parallel": 3, "kv_fraction": 0.2})
    cache = m.gpu.arguments(f"{EXECUTOR}.KvCacheConfig")[-1]
    # 300 + 100 tokens in whole blocks of 64, and a block to spare
    assert cache["max_tokens"] == 3 * (448 + 64)
    assert cache["free_gpu_memory_fraction"] == 0.2
    assert llm.parallel == 3
    llm, m = build(folder={"max_batch_size": 2})
    assert llm.parallel == 2  # of the 8 that were asked for
    assert m.gpu.arguments(f"{EXECUTOR}.KvCacheConfig")[-1]["max_tokens"] == 2 * 512


@pytest.mark.parametrize("reuses", [True, False])
def test_prompts_are_reused_where_the_engine_can(build, reuses):
    llm, m = build("chatml", folder={"use_paged_context_fmha": reuses})
    assert m.gpu.arguments(f"{EXECUTOR}.KvCacheConfig")[-1]["enable_block_reuse"] is reuses
    lines = (("system", "Be kind."), ("user", "hello"), ("assistant", "You said hello."))
    list(llm.prefill(lines))
    requests = m.gpu.arguments(f"{EXECUTOR}.Request")
    assert len(requests) == reuses
    if reuses:
        assert requests[0]["max_new_tokens"] == 1
        prepared = m.prompts[-1]
        assert ask(llm, "and Rome", *lines[1:]) == "You said and Rome."
        begun = prepared.rpartition("<|im_start|> user")[0]
        assert "You said hello." in begun
        assert m.prompts[-1].startswith(begun)


@pytest.mark.parametrize("reuses", [True, False])
def test_with_reuse_long_dialogues_begin_alike_for_several_turns(build, reuses):
    """Each time that the beginning changes, all of the prompt must be read again."""
    llm, m = build("chatml", folder={"use_paged_context_fmha": reuses})
    lines: list[tuple[str, str]] = []
    for n in range(30):
        assert ask(llm, f"number {n}", *lines) == f"You said number {n}."
        lines += [("user", f"number {n}"), ("assistant", f"You said number {n}.")]
    firsts = {prompt.partition("<|im_start|> user")[2][:20] for prompt in m.prompts[15:]}
    assert (len(firsts) <= 5) is reuses


def test_closing_half_way_cancels_that_request(build):
    llm, m = build()
    m.allow(10)
    other = llm.stream_chat([("user", "go on forever")], max_tokens=100, temperature=0.0)
    pieces = llm.stream_chat([("user", "the story forever")], max_tokens=100, temperature=0.0)
    assert next(piece for piece in bounded(other) if piece)
    assert next(piece for piece in bounded(pieces) if piece)
    pieces.close()
    assert m.gpu.arguments(f"{EXECUTOR}.Executor.cancel_request") == [{"id": 101}]
    m.allow(1000)
    # goes on to its own end, without the other's late token
    assert "".join(bounded(other)).count("ha") > 10
    eventually(lambda: not m.live)
    assert not llm._runner._waiting  # the last answer of a cancelled request has been read


def test_finished_requests_are_not_cancelled(build):
    llm, m = build()
    assert ask(llm, "hello") == "You said hello."
    assert m.gpu.arguments(f"{EXECUTOR}.Executor.cancel_request") == []


def test_a_silent_engine_can_be_closed(build):
    llm, m = build()
    pieces = llm.stream_chat([("user", "silent")], max_tokens=9, temperature=0.0)
    assert [next(pieces), next(pieces)] == ["", ""]
    pieces.close()
    eventually(lambda: not m.live)
    assert m.gpu.arguments(f"{EXECUTOR}.Executor.cancel_request") == [{"id": 100}]


def test_an_idle_engine_is_not_asked(build):
    llm, m = build()
    ask(llm, "hello")
    eventually(lambda: m.reading == 0)
    count = len(m.gpu.calls)
    assert ask(llm, "hello") and len(m.gpu.calls) > count
    assert len(m.gpu.threads(f"{EXECUTOR}.Executor.await_responses")) == 1


def test_a_breakdown_ends_all_who_wait(build):
    llm, _ = build()
    waiting = llm.stream_chat([("user", "silent")], max_tokens=9, temperature=0.0)
    assert next(waiting) == ""
    with pytest.raises(EngineError, match="illegal memory access"):
        ask(llm, "breakdown")
    with pytest.raises(EngineError, match="illegal memory access"):
        list(bounded(waiting))
    # no EngineError: the process shall end and be started again
    with pytest.raises(RuntimeError, match="broke down earlier"):
        ask(llm, "hello")


def test_a_refused_request_is_an_error_of_its_turn(build):
    llm, m = build()

    @m.gpu.on(f"{EXECUTOR}.Executor.enqueue_request")
    def refuse(this: Any, request: Any) -> int:
        raise RuntimeError("queue is closed")

    with pytest.raises(EngineError, match="queue is closed"):
        ask(llm, "hello")


def test_the_end_of_the_process_cancels_and_shuts_down(build):
    llm, m = build()
    waiting = llm.stream_chat([("user", "silent")], max_tokens=9, temperature=0.0)
    next(waiting)
    llm._runner.close()
    assert m.closed
    with pytest.raises(EngineError, match="stopped"):
        list(bounded(waiting))
    with pytest.raises(EngineError, match="stopped"):
        ask(llm, "hello")
    assert not llm._runner._reader.is_alive()
    llm._runner.close()
    assert len(m.gpu.arguments(f"{EXECUTOR}.Executor.shutdown")) == 1


# --- ModelRunner --------------------------------------------------------------------------------


def test_padding_is_not_part_of_the_answer(build):
    """The tensor has its full width, filled with the end token, from the first step: only the
    lengths say what is text.
    """
    llm, m = build("phi-3", engine={"runner": "session"})
    assert ask(llm, "hello") == "You said hello."
    config = m.gpu.arguments(GENERATE)[-1]["sampling_config"]
    assert (config.output_sequence_lengths, config.return_dict, config.max_new_tokens) == (
        True,
        True,
        60,
    )


def test_one_thread_owns_the_session(build):
    llm, m = build(engine={"runner": "session", "parallel": 8})
    assert llm.parallel == 1
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda text: ask(llm, text), ("hello", "zero", "one"))) == [
            f"You said {x}." for x in ("hello", "zero", "one")
        ]
    owners = m.gpu.threads(GENERATE) | m.gpu.threads("tensorrt_llm.runtime.ModelRunner.from_dir")
    assert len(owners) == 1 and threading.get_ident() not in owners


def test_closing_makes_no_more_steps(build):
    llm, m = build(engine={"runner": "session"})
    pieces = llm.stream_chat([("user", "go on forever")], max_tokens=100, temperature=0.0)
    next(piece for piece in bounded(pieces) if piece)
    pieces.close()
    assert ask(llm, "hello") == "You said hello."  # it has its turn
    first = next(iter(m.live.values()))
    assert first.cancelled


def test_a_lost_gpu_ends_the_process(build):
    llm, _ = build(engine={"runner": "session"})
    with pytest.raises(RuntimeError, match="CUDA error"):
        ask(llm, "breakdown")


def test_an_answer_that_tells_of_a_lost_gpu_ends_the_process(build):
    """The Executor catches its own errors and answers every request with them, for ever."""
    llm, _ = build()
    with pytest.raises(EngineError, match="CUDA runtime error"):
        ask(llm, "lost")
    eventually(lambda: llm._runner._failure is not None)
    with pytest.raises(RuntimeError, match="CUDA runtime error"):
        ask(llm, "hello")


def test_a_cancelled_request_that_does_not_end_ends_the_process(build, monkeypatch):
    llm, m = build()

    @m.gpu.on(f"{EXECUTOR}.Executor.cancel_request")
    def deaf(this: Any, id: int) -> None:
        """A wedged engine."""

    reply = llm.stream_chat([("user", "be silent")], max_tokens=5, temperature=0.0)
    next(reply)
    reply.close()
    assert ask(llm, "hello") == "You said hello."  # a minute is allowed
    monkeypatch.setattr(whisperfusion.engines.tensorrt.executor, "STUCK_S", 0.0)
    with pytest.raises(RuntimeError, match="hangs"):
        ask(llm, "hello")
    next(iter(m.live.values())).cancelled = True


# --- what may be wrong with a folder ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("phi-2", "docker/scripts/build-phi.sh phi-2"),
        ("phi-3-mini-4k-instruct", "docker/scripts/build-phi.sh phi-3-mini-4k-instruct"),
        ("dolphin-2_6-phi-2", "docker/scripts/build-phi.sh dolphin-2_6-phi-2"),
        ("own-model", "docker/scripts/build-models.sh"),
        ("openhermes-2.5-mistral-7b", "docker/scripts/build-mistral.sh openhermes-2.5-mistral-7b"),
    ],
)
def test_a_missing_engine_names_its_script(tmp_path, name, script):
    with pytest.raises(EngineError) as error:
        load("llm", "tensorrt-llm", model=str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)
    assert script in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "rank0.engine", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = write_folder(tmp_path, "phi-3")
    (folder / name).unlink()
    with pytest.raises(
        EngineError, match=rf"{name} is missing.*build-phi\.sh phi-3-mini-4k-instruct"
    ):
        load("llm", "tensorrt-llm", model=str(folder))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": "0.11.0"}, r"0\.11\.0, and this is 0\.10\.0.*delete.*build-phi\.sh"),
        ({"version": None}, "unknown version.*build-phi"),
        ({"build_config": {}}, "not the description of an engine.*build-phi"),
        ({"pretrained_config": None}, "not the description"),
    ],
)
def test_a_wrong_config_is_explained(tmp_path, change, text):
    folder = write_folder(tmp_path, "phi-2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(EngineError, match=text):
        load("llm", "tensorrt-llm", model=str(folder))


def test_files_that_are_not_what_they_should_be(tmp_path):
    folder = write_folder(tmp_path, "phi-2")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineError, match=r"tokenizer\.json cannot be read"):
        load("llm", "tensorrt-llm", model=str(folder))
    (folder / "config.json").write_text("<html>")
    with pytest.raises(EngineError, match="not the description"):
        load("llm", "tensorrt-llm", model=str(folder))


@pytest.mark.parametrize("runner", ["executor", "session"])
@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            (
                "The engine plan file is generated on an incompatible device, expecting compute "
                "8.9 got compute 8.6"
            ),
            (
                r"incompatible device.*one GPU architecture and one TensorRT "
                r"version.*delete.*build-phi\.sh phi-3-mini-4k-instruct"
            ),
        ),
        ("CUDA out of memory", r"not enough free GPU memory.*LLM_MODEL.*parallel=2"),
    ],
)
def test_an_engine_that_does_not_load(build, tmp_path, runner, reason, text):
    folder = write_folder(tmp_path / "here", "phi-3")
    with machine("phi-3", folder) as m:
        name = (
            f"{EXECUTOR}.Executor"
            if runner == "executor"
            else "tensorrt_llm.runtime.ModelRunner.from_dir"
        )

        @m.gpu.on(name)
        def refuse(this: Any, **rest: Any) -> None:
            raise RuntimeError(reason)

        with pytest.raises(EngineError, match=text):
            load("llm", "tensorrt-llm", model=str(folder), runner=runner)
    assert str(folder) in str(load_error(folder, RuntimeError("")))


@pytest.mark.parametrize("runner", ["executor", "session"])
def test_without_the_library_the_image_is_named(tmp_path, monkeypatch, runner):
    monkeypatch.setitem(sys.modules, "tensorrt_llm", None)
    with pytest.raises(EngineError, match=r"cannot be imported.*GPU image.*docs/gpu\.md"):
        load("llm", "tensorrt-llm", model=str(write_folder(tmp_path, "phi-3")), runner=runner)


def test_options_are_checked(tmp_path):
    folder = str(write_folder(tmp_path, "phi-3"))
    for options in ({"runner": "cpp"}, {"kv_fraction": 0}, {"kv_fraction": 1.5}, {"parallel": 0}):
        with pytest.raises(EngineError, match="LLM_OPTION"):
            load("llm", "tensorrt-llm", model=folder, **options)
    unpaged = str(write_folder(tmp_path / "x", "phi-3", paged_kv_cache=False))
    with pytest.raises(EngineError, match="runner=session"):
        load("llm", "tensorrt-llm", model=unpaged)


def test_an_unpaged_engine_runs_in_a_session(build):
    llm, _ = build(engine={"runner": "session"}, folder={"paged_kv_cache": False})
    assert ask(llm, "hello") == "You said hello."


# --- the fakes themselves, and old mistakes -----------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda api, runtime: api.Request(input_token_ids=[1], max_tokens=5),  # its later name
        lambda api, runtime: api.Request([1]),
        lambda api, runtime: api.Executor("path"),
        lambda api, runtime: api.KvCacheConfig(fraction=0.3),
        lambda api, runtime: api.Executor(
            "path", api.ModelType.DECODER_ONLY, api.ExecutorConfig()
        ).await_responses(1, 2, 3),
        # of ModelRunnerCpp
        lambda api, runtime: runtime.ModelRunner.from_dir("path", max_output_len=5),
        lambda api, runtime: runtime.SamplingConfig(end_id=1),
        lambda api, runtime: runtime.ModelRunnerCpp("path"),
    ],
)
def test_what_the_library_would_not_take_is_a_type_error(wrong):
    with fake_gpu.installed("tensorrt_llm"):
        from tensorrt_llm import runtime
        from tensorrt_llm.bindings import executor

        with pytest.raises(TypeError, match="recorded"):
            wrong(executor, runtime)


def test_what_is_not_recorded_is_not_there():
    with fake_gpu.installed("tensorrt_llm") as gpu:
        import tensorrt_llm
        from tensorrt_llm.bindings import executor

        for read in (
            lambda: executor.Response(request_id=1, error_msg="x").get_error_msg(),
            lambda: tensorrt_llm.SamplingParams,
            lambda: executor.ModelType.ENCODER_DECODER,
            lambda: setattr(executor.SamplingConfig(), "top_k", 2),
            lambda: setattr(executor.KvCacheConfig(), "fraction", 2),
            lambda: gpu.new("tensorrt_llm.runtime.ModelRunner").session,
        ):
            with pytest.raises(AttributeError):
                read()
        with pytest.raises(RuntimeError):
            _ = executor.Response(request_id=1, error_msg="x").result
        assert executor.Executor.__signature__.parameters.keys() == {
            "model_path",
            "model_type",
            "executor_config",
        }
    assert "tensorrt_llm" not in sys.modules


ENGINES = Path("whisperfusion/engines")
SOURCES = [
    ENGINES / "prompts.py",
    *(ENGINES / "tensorrt" / f"{name}.py" for name in ("executor", "folder", "runner")),
    *(ENGINES / "tensorrt" / f"{name}.py" for name in ("tensorrt_llm", "token_stream")),
]
ROOT = Path(__file__).parent.parent


MISTAKES: dict[str, Callable[[ast.AST], Any]] = {
    "output[0].split: an answer is one text, never a list of them": lambda tree: [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "split"
        and isinstance(node.value, ast.Subscript)
    ],
    "token ids of one model": lambda tree: [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and node.value in (50256, 50295, 50296, 32000, 32001, 32006, 32007, 32010)
    ],
    "the switch that is dead since the bindings are always there": lambda tree: [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "PYTHON_BINDINGS"
    ],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_others_stay_away(mistake):
    found = {
        str(path): MISTAKES[mistake](ast.parse((ROOT / path).read_text(encoding="utf-8")))
        for path in SOURCES
    }
    assert not any(found.values()), found


def test_the_search_for_mistakes_finds_them():
    bad = "x = output[0].split('Instruct:') + 50256 + a.PYTHON_BINDINGS"
    assert all(search(ast.parse(bad)) for search in MISTAKES.values())
