"""Streaming conversion of audio between formats and rates, through FFmpeg's filters.

PyAV's own AudioResampler starts as many threads per graph as the machine has cores, and refuses
audio whose format changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Converter:
    """Audio frames of any kind to mono frames of `format` at `rate`.

    `frame_size`: samples per output frame, except the last; 0 = as FFmpeg yields them.
    `stretch`: 2.0 = twice as fast, at the same pitch.
    """

    def __init__(
        self, format: str, rate: int, *, frame_size: int = 0, stretch: float = 1.0
    ) -> None:
        self._format, self._rate, self._frame_size, self._stretch = (
            format,
            rate,
            frame_size,
            stretch,
        )
        self._kind: tuple[str, str, int] | None = None
        self._graph: Any = None  # None = frames pass as they are

    def feed(self, frame: Any) -> list[Any]:
        """The output frames for one input frame; None = flush. A new input format starts new
        filters.
        """
        if frame is None:
            return self._flushed()
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        parts = []
        if kind != self._kind:
            parts = self._flushed()
            self._kind, self._graph = kind, self._built(kind, frame.time_base)
        if self._graph is None:
            return [*parts, frame]
        self._graph.push(frame)
        return [*parts, *_pulled(self._graph)]

    def _flushed(self) -> list[Any]:
        graph, self._kind, self._graph = self._graph, None, None
        if graph is None:
            return []
        graph.push(None)
        return list(_pulled(graph))

    def _built(self, kind: tuple[str, str, int], time_base: Any) -> Any:
        from av.filter import Graph

        name, layout, rate = kind
        if (
            kind == (self._format, "mono", self._rate)
            and not self._frame_size
            and self._stretch == 1.0
        ):
            return None
        graph = Graph()
        graph.threads = 1
        source = {"sample_rate": f"{rate}", "sample_fmt": name, "channel_layout": layout}
        if time_base is not None:
            source["time_base"] = f"{time_base}"
        nodes = [graph.add("abuffer", **source)]
        nodes += [graph.add("atempo", f"{step}") for step in tempos(self._stretch)]
        nodes.append(
            graph.add(
                "aformat",
                sample_rates=f"{self._rate}",
                sample_fmts=self._format,
                channel_layouts="mono",
            )
        )
        graph.link_nodes(*nodes, graph.add("abuffersink")).configure()
        if self._frame_size:
            graph.set_audio_frame_size(self._frame_size)
        return graph


def _pulled(graph: Any) -> Iterator[Any]:
    from av.error import BlockingIOError, EOFError

    while True:
        try:
            yield graph.pull()
        except (BlockingIOError, EOFError):
            return


def tempos(stretch: float) -> Iterator[float]:
    """Factors for a chain of FFmpeg's atempo filters, each between 0.5 and 2."""
    while abs(stretch - 1.0) > 1e-6:
        step = min(2.0, max(0.5, stretch))
        yield step
        stretch /= step
