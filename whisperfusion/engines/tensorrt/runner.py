"""TensorRT-LLM's ModelRunner: the simple way, one reply at a time, for engines that the Executor
cannot run.

A session belongs to the thread that built it (its CUDA stream is set there) and knows no two
callers, so one thread owns it and the replies take turns. It cannot be cancelled: it works only
while it is asked for the next token, so not asking is enough. Its output tensor has its full width
from the start, padded with the end token: only the lengths that come with it say what is text, and
they are a view of memory that the next step overwrites.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

from whisperfusion.engines.pump import pieces
from whisperfusion.engines.tensorrt.executor import Sampling
from whisperfusion.engines.tensorrt.folder import EngineFolder, load_error
from whisperfusion.errors import EngineError, gpu_is_lost


class SessionRunner:
    parallel = 1

    def __init__(self, folder: EngineFolder) -> None:
        import torch
        from tensorrt_llm.runtime import ModelRunner, SamplingConfig

        self._torch, self._sampling_config = torch, SamplingConfig
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="trt-session")
        try:
            self._runner = self._owner.submit(
                ModelRunner.from_dir, str(folder.path), rank=0
            ).result()
        except Exception as error:
            raise load_error(folder.path, error) from error

    def generate(self, ids: list[int], sampling: Sampling) -> Generator[list[int], None, None]:
        """New tokens as they come, [] while there are none.

        Closing it stops before the next step.
        """

        def work(give: Callable[[list[int]], bool]) -> None:
            try:
                for new in self._steps(ids, sampling):
                    if give(new):
                        return
            except RuntimeError as error:
                if gpu_is_lost(error):
                    raise
                raise EngineError(f"the TensorRT engine could not answer: {error}") from error

        nothing_new: list[int] = []
        return pieces(work, nothing_new, pool=self._owner)

    def close(self) -> None:
        """Gives the GPU back, as soon as nothing runs any more."""
        self._owner.submit(vars(self).pop, "_runner", None)
        self._owner.shutdown(wait=False)

    def _steps(self, ids: list[int], sampling: Sampling) -> Iterator[list[int]]:
        torch, end = self._torch, sampling.stop_ids[0]
        config = self._sampling_config(
            end_id=end,
            pad_id=end,
            max_new_tokens=sampling.max_new_tokens,
            output_sequence_lengths=True,
            return_dict=True,
            stop_words_list=torch.tensor(stop_words(sampling.stop_ids), dtype=torch.int32)
            .to("cuda")
            .contiguous(),
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
        )
        config.random_seed = sampling.seed
        done = len(ids)
        for step in self._runner.generate(
            [torch.tensor(ids, dtype=torch.int32)], sampling_config=config, streaming=True
        ):
            length = step["sequence_lengths"].tolist()[0][0]
            if length > done:
                yield step["output_ids"][0][0][done:length].tolist()
                done = length


def stop_words(ids: list[int]) -> list[list[list[int]]]:
    """[1, 2, len]: words of one token each, and where each of them ends.

    For one reply at a time only: with more, the rows of the others are read from the wrong place.
    """
    return [[list(ids), list(range(1, len(ids) + 1))]]
