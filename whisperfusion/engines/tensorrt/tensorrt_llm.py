"""A language model as a TensorRT engine on this machine's GPU: Phi-2, Phi-3-mini, Mistral-7B and
their tunes.

The engine knows token ids only. Around it: `prompts` writes the dialogue in the model's own form
within its limits, `token_stream` makes text of the answer, and of the two ways to run an engine the
Executor is the default, because it answers all callers at once and can cancel one of them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from whisperfusion.engines.prompts import Prompts, chosen_template
from whisperfusion.engines.protocols import ChatHistory
from whisperfusion.engines.tensorrt.executor import ExecutorRunner, Sampling
from whisperfusion.engines.tensorrt.folder import EngineFolder, read_folder, start_error
from whisperfusion.engines.tensorrt.runner import SessionRunner
from whisperfusion.engines.tensorrt.token_stream import StopText, TokenStream
from whisperfusion.errors import EngineError

TOP_K, TOP_P = 40, 0.95  # of sampling; the usual ones of local chat servers
RUNNERS = ("executor", "session")
TRIES = 600  # pulses, a minute: how long the first token of the first dialogue may take

log = logging.getLogger(__name__)


class TensorRTLLM:
    """`model` is an engine folder, as docker/scripts/build-phi.sh and build-mistral.sh make them.

    `parallel` replies run at once, as far as the engine's batch allows. Their cache takes what
    these need at full length, but never more than `kv_fraction` of the GPU memory that is free once
    the engine is loaded: other models share the GPU. `runner` is "executor", or "session" for one
    reply at a time. `template` overrules the form of the prompts ("phi-2", "phi-3", "chatml",
    "mistral"), which otherwise follows from the engine and its vocabulary.
    """

    device = "cuda"

    def __init__(
        self,
        *,
        model: str,
        parallel: int = 8,
        kv_fraction: float = 0.5,
        runner: str = "executor",
        template: str = "",
    ) -> None:
        if runner not in RUNNERS or not 0 < kv_fraction <= 1 or parallel < 1:
            raise EngineError(
                f"LLM_OPTION: runner must be one of {', '.join(RUNNERS)} (is {runner!r}), "
                "kv_fraction above 0 and at most 1 "
                f"(is {kv_fraction}), parallel at least 1 (is {parallel})"
            )
        folder = read_folder(model)
        self.model = folder.path.name
        self._longest = folder.max_output_len
        self._tokenizer = load_tokenizer(folder)
        self._reuses = folder.reuses and runner == "executor"
        chosen = chosen_template(template, folder.architecture, self._tokenizer)
        self._stops = chosen.stops
        self._prompts = Prompts(
            self._tokenizer, chosen, folder.max_input_len, in_steps=self._reuses
        )
        self._runner = load_runner(folder, runner, parallel, kv_fraction)
        self.parallel = self._runner.parallel
        self._try_longest(folder)
        log.info("Loaded LLM TensorRT Engine")

    def stream_chat(
        self, history: ChatHistory, *, max_tokens: int, temperature: float
    ) -> Iterator[str]:
        ids = self._prompts.ids(history)
        tokens = self._runner.generate(
            ids, self._sampling(max(1, min(max_tokens, self._longest)), temperature)
        )
        with closing(tokens):
            yield from self._text(tokens)

    def prefill(self, history: ChatHistory) -> Iterator[str]:
        """With block reuse, asks for one token for the sake of the cache, and throws it away.

        What follows is always a user's line, so its opening is read too. Without reuse there is no
        cache to fill.
        """
        if not self._reuses:
            return
        if not history or history[-1][0] != "user":
            history = (*history, ("user", ""))
        tokens = self._runner.generate(self._prompts.ids(history), self._sampling(1, 0.0))
        with closing(tokens):
            for _ in tokens:
                yield ""

    def _try_longest(self, folder: EngineFolder) -> None:
        """A dialogue of full length up to the first token of its answer: kernels are loaded now
        and not in the first turn, and a cache that has no room for one dialogue is found now and
        not in a long one.
        """
        ids = self._prompts.stop_ids[:1] * folder.max_input_len
        tokens = self._runner.generate(ids, self._sampling(self._longest, 0.0))
        failure: EngineError | None = None
        try:
            if all(not new for new in islice(tokens, TRIES)) and next(tokens, None) is not None:
                failure = EngineError("there was no answer, nor free block")
        except EngineError as error:
            failure = error
        finally:
            tokens.close()
        if failure is None:
            return
        self._runner.close()  # the start ends: give the GPU back
        if "block" not in str(failure):
            raise start_error(folder.path, failure) from failure
        raise EngineError(
            f"{self.model} cannot hold one dialogue of {folder.max_seq_len} tokens on this GPU "
            f"({failure}): raise LLM_OPTION=kv_fraction=0.7, stop other programs on the GPU, or "
            "choose a smaller model; docs/gpu.md has a table"
        ) from failure

    def _sampling(self, max_new_tokens: int, temperature: float) -> Sampling:
        stop_ids = self._prompts.stop_ids
        if temperature <= 0:
            return Sampling(stop_ids, max_new_tokens)
        return Sampling(stop_ids, max_new_tokens, temperature, TOP_K, TOP_P, random.getrandbits(31))

    def _text(self, tokens: Iterator[list[int]]) -> Iterator[str]:
        """Up to the first stop, in tokens or in text; "" where there is nothing to say yet."""
        stream, cut, stop_ids, begun = (
            TokenStream(self._tokenizer),
            StopText(self._stops),
            set(self._prompts.stop_ids),
            False,
        )
        for new in tokens:
            # Engines may hand out the token that ended an answer, or not: both are right.
            at = next((at for at, id in enumerate(new) if id in stop_ids), len(new))
            text = cut.feed(stream.feed(new[:at]))
            text = text if begun else text.lstrip()
            begun = begun or bool(text)
            yield text
            if at < len(new) or cut.found:
                break
        text = cut.feed(stream.flush()) + cut.flush()
        yield text if begun else text.lstrip()


def load_tokenizer(folder: EngineFolder) -> Any:
    from tokenizers import Tokenizer

    path = folder.path / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise EngineError(
            f"{path} cannot be read ({error}): it is damaged or too new for this tokenizers; fetch "
            "it again"
        ) from error


def load_runner(
    folder: EngineFolder, runner: str, parallel: int, kv_fraction: float
) -> ExecutorRunner | SessionRunner:
    if runner == "executor" and not folder.paged:
        raise EngineError(
            f"the engine in {folder.path} was built without paged cache, packed input or the "
            "attention plugin: the Executor "
            "needs all three. Build it without disabling them, or choose LLM_OPTION=runner=session"
        )
    try:
        return (
            ExecutorRunner(folder, parallel, kv_fraction)
            if runner == "executor"
            else SessionRunner(folder)
        )
    # the import loads libraries and starts MPI
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(
            f"tensorrt_llm cannot be imported ({error}): it lives in the GPU image, with a driver "
            "for the GPU; see docs/gpu.md"
        ) from error
