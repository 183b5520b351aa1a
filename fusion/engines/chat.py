"""Lines of dialogue as every chat server takes them."""

from __future__ import annotations

from collections.abc import Sequence

Lines = Sequence[tuple[str, str]]


def messages(lines: Lines) -> list[dict[str, str]]:
    """(role, text) lines as {"role", "content"}. Half a surrogate pair, which JSON may carry, becomes "?"."""
    return [{"role": role, "content": text.encode("utf-8", "replace").decode()} for role, text in lines]
