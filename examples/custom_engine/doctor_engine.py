"""An engine of your own: a language model of 1966, which turns what you say into a question.

    .venv/bin/pip install ./examples/custom_engine  # its pyproject.toml has the entry point
    python main.py --llm-engine=doctor

An engine knows one thing: it has no ticket, queue or setting. Options of the constructor come
from LLM_OPTION, as in LLM_OPTION=patient=Ada. A real engine imports its library inside the
constructor. `whisperfusion/engines/protocols.py` has the protocols of all kinds: ASR, LLM, TTS,
VAD, TurnModel.
"""

import re
from collections.abc import Iterator

from whisperfusion.engines.protocols import ChatHistory
from whisperfusion.errors import EngineError

Given = str | None  # None = not set
MIRRORED = {"i": "you", "my": "your", "me": "you", "am": "are", "mine": "yours", "you": "I"}
RULES = (
    (r"i feel (.+)", "Why do you feel {0}?"),
    (r"i am (.+)", "How long have you been {0}?"),
    (r"my (\w+) (.+)", "Tell me more about your {0}."),
    (r"(.+)", "Why do you say that {0}?"),
)


class Doctor:
    model, device, parallel = "doctor", "cpu", 8

    def __init__(
        self, *, model: Given = None, url: Given = None, key: Given = None, patient: str = ""
    ) -> None:
        if model:
            raise EngineError(f"LLM_MODEL={model}: this engine has no models; leave it empty")
        self._patient = patient

    def stream_chat(
        self, history: ChatHistory, *, max_tokens: int, temperature: float
    ) -> Iterator[str]:
        """Yields the answer word by word. To cancel is to close this generator."""
        text = history[-1][1].lower().strip(" .?!")
        question = next(filter(None, (mirrored(*rule, text) for rule in RULES)), "Go on.")
        name = f"{self._patient}, " if self._patient else ""
        for word in (name + question).split(" ")[:max_tokens]:
            yield word + " "

    def prefill(self, history: ChatHistory) -> Iterator[str]:
        """Nothing to read beforehand."""
        return iter(())


def mirrored(pattern: str, answer: str, text: str) -> str:
    """The answer, with the words of `text` seen from the other side; "" where it does not fit."""
    found = re.fullmatch(pattern, text)
    if found is None:
        return ""
    parts = (" ".join(MIRRORED.get(word, word) for word in part.split()) for part in found.groups())
    return answer.format(*parts)
