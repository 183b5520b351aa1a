"""QR codes as rows of modules, and drawn in a terminal."""

from __future__ import annotations

QUIET_MODULES = 2  # around a QR code; the standard has 4, and phones read it with 2


def matrix(text: str) -> list[str]:
    """The QR code of `text` as rows of 0 and 1, with its quiet zone; no rows for an empty text."""
    import segno

    if not text:
        return []
    rows = segno.make_qr(text, error="L").matrix_iter(border=QUIET_MODULES)
    return ["".join(map(str, row)) for row in rows]


def half_blocks(rows: list[str]) -> list[str]:
    """Rows of modules as text, two per line; light modules are drawn, for terminals are dark."""
    blocks = {("0", "0"): "█", ("0", "1"): "▀", ("1", "0"): "▄", ("1", "1"): " "}
    upper_rows = rows[::2]
    lower_rows = [*rows[1::2], "1" * len(rows[0])][: len(upper_rows)] if rows else []
    return [
        "".join(blocks[both] for both in zip(upper, lower, strict=True))
        for upper, lower in zip(upper_rows, lower_rows, strict=True)
    ]
