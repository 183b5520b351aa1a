"""What a request may put before the speech: hot words and a prompt, as the model's "text before",
never as its control tokens.

Whisper has 448 positions for the text before, the control tokens and what it writes. So both texts
share half of them, and of each the last part is used: the words nearest to the speech decide most.
"""

from __future__ import annotations

import re
from typing import Any

from whisperfusion.engines.protocols import ASROptions

PROMPT_TOKENS = 223  # what the model takes as "text before" at most
CONTROL = re.compile(r"<\|[^<>|]{0,32}\|>")  # also those that only other sizes of Whisper have


def text_before(tokenizer: Any, options: ASROptions, most: int = PROMPT_TOKENS) -> list[int]:
    """The hot words and the prompt as the text before, in at most `most` tokens and the one
    that opens them.
    """
    text = tokens_before(tokenizer, options, most)
    return [tokenizer.sot_prev, *text] if text else []


def tokens_before(tokenizer: Any, options: ASROptions, most: int = PROMPT_TOKENS) -> list[int]:
    """The same without the token that opens them.

    A text that is shorter than its half leaves the rest to the other.
    """
    hotwords, prompt = (
        _tokens(tokenizer, text) for text in (options.hotwords, options.initial_prompt)
    )
    if most <= 0:
        return []
    of_hotwords = max(most // 2, most - len(prompt))
    hotwords = hotwords[-of_hotwords:] if of_hotwords else []
    left = most - len(hotwords)
    return hotwords + (prompt[-left:] if left > 0 else [])


def _tokens(tokenizer: Any, text: str) -> list[int]:
    # the tokenizer takes no half surrogate pairs
    plain = CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()
    # What the vocabulary still takes for a control token has a number from the end of text on.
    return (
        [token for token in tokenizer.encode(" " + plain) if token < tokenizer.eot] if plain else []
    )
