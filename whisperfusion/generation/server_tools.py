"""The server's own tools in the language model process: loaded with the first job that may use
them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from whisperfusion.engines import ConstrainedLLM
from whisperfusion.generation.answer import Answer
from whisperfusion.generation.commits import Commits
from whisperfusion.generation.language_model import LanguageModel
from whisperfusion.messages import Generate, Labelled, Prefill, UseServers
from whisperfusion.runtime.redaction import hide_in_logs
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import AUTO, AUTO_TOOLS, added_file, has_servers

if TYPE_CHECKING:
    from whisperfusion.generation.tool_loop import Pieces, ToolLoop


class ServerTools:
    """Thread-safe. `post` gets what tools do and what becomes of them."""

    def __init__(
        self, settings: Settings, model: LanguageModel, post: Callable[[Any], object]
    ) -> None:
        self._settings, self._model, self._post = settings, model, post
        self._loading = threading.Lock()
        self._loop: ToolLoop | None = None
        self._started = False
        self.commits = Commits()

    @property
    def loop(self) -> ToolLoop:
        with self._loading:
            if self._loop is None:
                self._loop = self._loaded()
            return self._loop

    def start(self) -> None:
        """Load what calls may use, and connect to MCP servers, before the first call."""
        usual = self._settings.tools == AUTO and self._cost_nothing()
        if usual or has_servers(self._settings):
            self._started = True
            threading.Thread(target=lambda: self.loop, name="tools-start", daemon=True).start()

    def stream_chat(self, job: Generate, answer: Answer) -> Pieces:
        """Pieces of the reply to `job`, whose calls of the server's tools are run."""
        names = self._names(job)
        if not names:
            return self._model.stream_chat(job)
        return self.loop.stream_chat(replace(job, server_tools=names), answer)

    def prepared(self, job: Prefill) -> Prefill:
        """`job` with the prompt that its `Generate` will start with."""
        names = self._names(job)
        return self.loop.prepared(replace(job, server_tools=names)) if names else job

    def _names(self, job: Generate | Prefill) -> tuple[str, ...]:
        """With the usual tools in place of `AUTO`, where they cost nothing and the client brings
        none itself.
        """
        names = job.server_tools
        if AUTO not in names:
            return names
        others = tuple(name for name in names if name != AUTO)
        return others if job.tools or not self._cost_nothing() else (*AUTO_TOOLS, *others)

    def _cost_nothing(self) -> bool:
        """Whether tools are chosen for the model, and its prompts have none."""
        engine = self._model.active
        return isinstance(engine, ConstrainedLLM) and engine.small

    def use_servers(self, message: UseServers) -> None:
        """Connect to the MCP servers that the client of a call has named."""
        if message.servers or self._loop is not None:
            self.loop.catalog.calls.use(message)

    def forget(self, call: str) -> None:
        self.commits.forget(call)
        if self._loop is not None:
            self._loop.catalog.calls.forget(call)

    def forget_all(self) -> None:
        self.commits.forget()
        if self._loop is not None:
            self._loop.catalog.calls.forget_all()

    def metrics(self) -> tuple[Labelled, ...]:
        """Also the moment at which files of MCP servers that were changed are read."""
        if self._loop is None:
            if not self._started and added_file(self._settings).is_file():
                self.start()
            return ()
        catalog = self._loop.catalog
        catalog.reload()
        return (*self._loop.runner.metrics(), *catalog.metrics())

    def stop(self) -> None:
        with self._loading:
            if self._loop is not None:
                self._loop.runner.stop()

    def _loaded(self) -> ToolLoop:
        from whisperfusion.generation.tool_loop import ToolLoop
        from whisperfusion.tools.catalog import Catalog
        from whisperfusion.tools.runner import Runner

        runner = Runner()
        catalog = Catalog(self._settings, runner, self._post, hide_in_logs)
        return ToolLoop(
            self._model,
            catalog,
            runner,
            self._post,
            self.commits.has,
            self._settings.zone,
        )
