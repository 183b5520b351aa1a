"""What a text is to the model inside llama.cpp: how many tokens, and which of them would be control
tokens.

xllamacpp has no call for this, but the server that it always opens on a loopback port has. A prompt
is counted with its own template, so that no dialogue is longer than it was taken for: tokens of
digits, emoji and rare scripts are one byte each, where those of English are four. Spellings of
control tokens are taken out of every text, or a caller could end a turn and write the next one,
instructions included: the server reads them as control tokens wherever they stand.
"""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from whisperfusion.engines.remote.chat import plain_text
from whisperfusion.errors import EngineError

TIMEOUT_S = 10.0
KEPT = 1024  # texts whose tokens are remembered; each line of a dialogue comes back with every turn
ROUNDS = 4  # of taking out what is a control token, until none is left
THINKS_NOT = {"enable_thinking": False}  # a voice cannot wait for thoughts


class Tokens:
    """Thread-safe. `address` is the server's, `key` opens it."""

    def __init__(self, address: str, key: str) -> None:
        from http import client

        parts = urlsplit(address)
        self._failures = (client.HTTPException, OSError)
        self._connection = client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=TIMEOUT_S
        )
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._lock = threading.Lock()
        self._looked = lru_cache(KEPT)(self._tokenized)
        self.frame = lru_cache(64)(self._frame)

    def plain(self, text: str) -> str:
        """`text` without spellings of control tokens."""
        return self._looked(text)[0]

    def count(self, text: str) -> int:
        """Tokens of `plain(text)`."""
        return self._looked(text)[1]

    def _tokenized(self, text: str) -> tuple[str, int]:
        text = plain_text(text)
        for _ in range(ROUNDS):
            plain = self._tokenize(text, special=False)
            if plain == self._tokenize(text, special=True):
                return text, len(plain)
            usual = set(plain)
            for spelling in {
                token["piece"] for token in self._spelled(text) if token["id"] not in usual
            }:
                text = (
                    text.replace(spelling, " ")
                    if isinstance(spelling, str) and spelling.strip()
                    else text
                )
        raise EngineError(
            "the dialogue contains a spelling of this model's control tokens; say it in other words"
        )

    def _frame(self, tools: str) -> int:
        """Tokens of a prompt beyond those of its lines: the template's beginning and end, and the
        functions in it.

        `tools` is the JSON of `Tools.for_chat_completions`, or empty. Raises EngineError for
        functions that the template cannot present.
        """
        body = {
            "messages": [{"role": "user", "content": ""}],
            "chat_template_kwargs": THINKS_NOT,
            **(json.loads(tools) if tools else {}),
        }
        return len(self._tokenize(self._post("/apply-template", body)["prompt"], special=True))

    def _tokenize(self, text: str, special: bool) -> list[int]:
        return list(
            self._post(
                "/tokenize", {"content": text, "add_special": False, "parse_special": special}
            )["tokens"]
        )

    def _spelled(self, text: str) -> list[dict[str, Any]]:
        """The tokens of `text`, control tokens among them, as {"id", "piece"}: a piece is text,
        or bytes that are none.
        """
        return list(
            self._post(
                "/tokenize",
                {"content": text, "add_special": False, "parse_special": True, "with_pieces": True},
            )["tokens"]
        )

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        with self._lock:
            try:
                status, answer = self._exchange(path, body)
            except self._failures:  # the server closes a connection that was idle
                self._connection.close()
                try:
                    status, answer = self._exchange(path, body)
                except self._failures as error:
                    self._connection.close()
                    raise EngineError(
                        f"the language model's tokenizer does not answer ({error}); ask again"
                    ) from error
        if status != 200:
            raise EngineError(f"the language model refused the dialogue: {_reason(answer)}")
        return json.loads(answer)

    def _exchange(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self._connection.request("POST", path, json.dumps(body), self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return repr(answer[:200])
