"""TensorRT-LLM's Executor: all callers in one batch that changes with every token, each closable on
its own.

Facts that shape this: `await_responses` hands out what is ready for any request, so exactly one
thread reads and sorts by id; it releases the interpreter's lock, enqueueing and cancelling do not,
but are short. A cancelled request still answers once more, with its last result, one step later:
what comes until then goes unread. By default the Executor takes 90 % of the free GPU memory for its
cache; here other models live on the same GPU.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

from whisperfusion.engines.pump import MOMENT_S, pulsing
from whisperfusion.engines.tensorrt.folder import EngineFolder, load_error
from whisperfusion.errors import EngineError, EngineLost, gpu_is_lost

# how long the reader waits at a time: only bounds how soon it notices that the engine is closed
READ_S = 0.2
EXIT_S = 3.0
# from the cancelling of a request to its end, which is one step away: the engine hangs
STUCK_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """Of one reply. `top_k` 1 is greedy, and then nothing else counts."""

    stop_ids: list[int]  # the first is the end token
    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 1
    top_p: float = 0.0
    seed: int = 0


@dataclass
class Waiting:
    """One reply: what was found for it; None ends it.

    Once its caller has gone (`left_at`), this is read no further.
    """

    found: SimpleQueue[list[int] | None] = field(default_factory=SimpleQueue)
    error: str = ""
    left_at: float | None = None


class ExecutorRunner:
    """`kv_fraction` is the share of the GPU memory that is free after loading; the cache of
    `parallel` full dialogues bounds it too.
    """

    def __init__(self, folder: EngineFolder, parallel: int, kv_fraction: float) -> None:
        from tensorrt_llm.bindings import executor

        self._api = executor
        self.parallel = min(parallel, folder.max_batch_size)
        blocks = -(-folder.max_seq_len // folder.tokens_per_block)
        most = self.parallel * (blocks + 1) * folder.tokens_per_block  # one block to spare for each
        cache = executor.KvCacheConfig(
            enable_block_reuse=folder.reuses, max_tokens=most, free_gpu_memory_fraction=kv_fraction
        )
        try:
            self._executor = executor.Executor(
                str(folder.path),
                executor.ModelType.DECODER_ONLY,
                executor.ExecutorConfig(max_beam_width=1, kv_cache_config=cache),
            )
        except Exception as error:
            raise load_error(folder.path, error) from error
        self._changed = threading.Condition()
        self._waiting: dict[int, Waiting] = {}
        self._failure: Exception | None = None
        self._closed = False
        self._reader = threading.Thread(target=self._read, name="trt-executor", daemon=True)
        self._reader.start()
        atexit.register(self.close)

    def generate(self, ids: list[int], sampling: Sampling) -> Generator[list[int], None, None]:
        """New tokens as they come, [] while there are none. Closing it cancels the request."""
        id, waiting = self._enqueue(self._request(ids, sampling))
        try:
            yield from pulsing(waiting.found, [])
        finally:
            self._leave(id)
        if waiting.error:
            raise EngineError(waiting.error)

    def close(self) -> None:
        """Cancels what is running and ends the engine; the process would otherwise be killed
        inside of it.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            running = list(self._waiting)
            self._changed.notify_all()
        self._reader.join(EXIT_S)
        if self._failure is None:
            for id in running:
                self._executor.cancel_request(id)
            ending = threading.Thread(
                target=self._executor.shutdown, name="trt-shutdown", daemon=True
            )
            # it waits for requests that run, and one that never got its turn may be among them
            ending.start()
            ending.join(EXIT_S)
        self._end_all("the language model has been stopped")

    def _request(self, ids: list[int], sampling: Sampling) -> Any:
        # the others are cut from the answer, and that cancels the request
        end = sampling.stop_ids[0]
        if sampling.top_k == 1:
            chosen = self._api.SamplingConfig(beam_width=1, top_k=1)
        else:  # without a seed of its own each request would get the same, and the same answer
            chosen = self._api.SamplingConfig(
                beam_width=1,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                temperature=sampling.temperature,
                random_seed=sampling.seed,
            )
        return self._api.Request(
            input_token_ids=ids,
            max_new_tokens=sampling.max_new_tokens,
            streaming=True,
            sampling_config=chosen,
            end_id=end,
            pad_id=end,
        )

    def _enqueue(self, request: Any) -> tuple[int, Waiting]:
        with self._changed:  # the reader may be given the first token before the id is known here
            stuck = not self._changed.wait_for(lambda: not self._stuck(), MOMENT_S)
            # not an EngineError: only a new process gets the GPU back
            if self._failure is not None:
                raise EngineLost(
                    f"the TensorRT engine broke down earlier: {self._failure!r}"
                ) from self._failure
            if self._closed:
                raise EngineError("the language model has been stopped")
            if stuck:
                raise EngineLost(
                    "the TensorRT engine hangs: a cancelled request did not end within "
                    f"{STUCK_S:g} s"
                )
            try:
                id = self._executor.enqueue_request(request)
            except Exception as error:
                raise EngineError(f"the TensorRT engine refused the request: {error}") from error
            waiting = self._waiting[id] = Waiting()
            self._changed.notify_all()
            return id, waiting

    def _stuck(self) -> bool:
        now = time.monotonic()
        return any(
            one.left_at is not None and now - one.left_at > STUCK_S
            for one in self._waiting.values()
        )

    def _leave(self, id: int) -> None:
        """It stays known until its last response has come, for nothing else reads that."""
        with self._changed:
            if id in self._waiting and not self._closed and self._failure is None:
                self._waiting[id].left_at = time.monotonic()
                self._executor.cancel_request(id)

    def _read(self) -> None:
        """The one reader."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._waiting)
                    if self._closed:
                        return
                for response in self._executor.await_responses(timedelta(seconds=READ_S)):
                    self._sort(response)
        except Exception as error:  # no caller may wait for a reader that is gone
            log.exception("the TensorRT engine broke down")
            with self._changed:
                self._failure = error
            self._end_all(f"the TensorRT engine broke down ({error}); it will be started again")

    def _sort(self, response: Any) -> None:
        # the engine catches its own errors, and answers with them
        error = response.error_msg if response.has_error() else None
        if error is not None and gpu_is_lost(error):
            raise EngineLost(error)
        final = error is not None or response.result.is_final
        with self._changed:
            waiting = self._waiting.get(response.request_id)
            if waiting is None:
                return
            if final:
                del self._waiting[response.request_id]
                self._changed.notify_all()
        if error is not None:
            waiting.error = f"the TensorRT engine could not answer: {error}"
        elif (tokens := response.result.output_token_ids) and tokens[0]:
            waiting.found.put(list(tokens[0]))
        if final:
            waiting.found.put(None)

    def _end_all(self, reason: str) -> None:
        with self._changed:
            ended, self._waiting = list(self._waiting.values()), {}
        for waiting in ended:
            waiting.error = reason
            waiting.found.put(None)
