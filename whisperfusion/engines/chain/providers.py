"""Well-known providers of language models: where they are, which setting has their key, and how
long their first token may take. Where each differs from OpenAI's dialect: docs/chains.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# A hosted model begins within 0.2 to 1.2 s, and one that has not after 2 s mostly waits in a queue.
# 3 s of silence sound like a dropped call, and the next link needs a part of them.
HOSTED_FIRST_TOKEN_S = 2.0
# A server of one's own reads long prompts slowly, and loads its model again after a pause.
OWN_FIRST_TOKEN_S = 5.0
LLAMA_OPTIONS = ("context", "parallel", "decode_threads", "prompt_threads", "gpu_layers")


@dataclass(frozen=True)
class Provider:
    """`engine` is that of the registry; `url` "" = the engine's own default; `key` is the setting
    that has its key, "" = it needs none; `first_token_s` None = no limit. `options`: what a link
    may pass on to the engine.
    """

    engine: str
    url: str = ""
    key: str = ""
    first_token_s: float | None = HOSTED_FIRST_TOKEN_S
    options: tuple[str, ...] = ("parallel", "thinking", "reasoning_effort")
    needs_model: bool = True

    @property
    def remote(self) -> bool:
        return self.engine in ("openai", "ollama", "ray")


def _hosted(url: str, key: str) -> Provider:
    return Provider("openai", url, key)


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        # LLM_KEY's older name is OPENAI_API_KEY
        "openai": _hosted("https://api.openai.com/v1", "LLM_KEY"),
        "groq": _hosted("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        "gemini": _hosted(
            "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"
        ),
        "anthropic": _hosted("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
        "mistral": _hosted("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        "openrouter": _hosted("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        "together": _hosted("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
        "deepinfra": _hosted("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
        "ollama": Provider(
            "ollama",
            first_token_s=OWN_FIRST_TOKEN_S,
            options=("parallel", "keep_alive"),
            needs_model=False,
        ),
        "ray": Provider(
            "ray",
            first_token_s=OWN_FIRST_TOKEN_S,
            options=("parallel", "timeout_s"),
            needs_model=False,
        ),
        "embedded": Provider(
            "llama.cpp", first_token_s=None, options=LLAMA_OPTIONS, needs_model=False
        ),
        "scripted": Provider(
            "scripted", first_token_s=None, options=("parallel", "delay_s"), needs_model=False
        ),
    }
)
