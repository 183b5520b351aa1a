"""Whether the Hugging Face hub can be reached, asked once by each process.

Looking up a name has no time limit of its own, and a network that drops packets answers nothing, so
the question is asked in a thread, and given up after `PATIENCE_S`.
"""

from __future__ import annotations

import threading
from functools import lru_cache

PATIENCE_S = 3.0
REFUSED = (403, 407)  # by a proxy; 404 is a mirror without a front page


def lacks() -> str:
    """Why the hub cannot be used; empty = it can. Takes `PATIENCE_S` at most, the first time."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return _asked(constants.ENDPOINT)


@lru_cache(maxsize=8)
def _asked(endpoint: str) -> str:
    answers: list[str] = []
    asking = threading.Thread(target=_ask, args=(endpoint, answers), name="hub", daemon=True)
    asking.start()
    asking.join(PATIENCE_S)
    if answers:
        return answers[0]
    return f"{endpoint} cannot be reached (no answer within {PATIENCE_S:g} s)"


def _ask(endpoint: str, answers: list[str]) -> None:
    import httpx

    try:
        status = httpx.head(endpoint, timeout=PATIENCE_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        answers.append(f"{endpoint} cannot be reached ({error})")
        return
    refused = status in REFUSED or status >= 500
    answers.append(f"{endpoint} cannot be used (status {status})" if refused else "")
