"""How long answers may be."""

from __future__ import annotations

# tokens, mostly: then a brief answer ends with its sentence, and at twice as many wherever it is
BRIEF_PIECES = 40
