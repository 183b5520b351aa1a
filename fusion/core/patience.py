"""How long a pause must be before it ends a turn.

Three witnesses: the end-of-turn model, which hears intonation; the words, which may ask for more; and the silence
itself. The model is asked once, early in the pause, because more silence pushes it towards "ended". What it says and
what the words say give the silence that is needed; whatever is not known yet counts as doubtful. The table is in
seconds for a listener of middling eagerness; bench/README.md tells how its numbers were found.
"""

from __future__ import annotations

from fusion.core.endpoint import SCORE_S
from fusion.core.witness import Ending, ending

COMPLETE, DOUBTFUL = 0.5, 0.1  # scores above which the model finds the turn complete, or perhaps complete

SILENCE_S = {
    #                   complete doubtful incomplete
    Ending.QUESTION: (SCORE_S, 0.35, 0.6),
    Ending.REQUEST: (SCORE_S, 0.4, 0.7),
    Ending.PLAIN: (0.4, 0.6, 1.0),
    Ending.SPELLING: (0.7, 1.1, 1.4),
    Ending.OPEN: (1.2, 1.6, 2.2),
}
MOST_S = 2.6  # ends any turn
NARRATION, NARRATED = 0.5, 2  # who went on after a pause tells a story: half as long again for each such pause, up to twice


def silence_needed(score: float | None, text: str | None, language: str = "en", eagerness: float = 0.5, went_on: int = 0) -> float:
    """Seconds of silence that end the turn.

    `score` None: not known; `text` None: the words are not known yet. `went_on`: pauses of this turn after which more came.
    """
    column = 1 if score is None else 0 if score > COMPLETE else 1 if score > DOUBTFUL else 2
    row = Ending.PLAIN if text is None else ending(text, language)
    needed = SILENCE_S[row][column]
    if row is Ending.PLAIN:
        needed *= 1 + NARRATION * min(went_on, NARRATED)
    return max(SCORE_S, needed * stretch(eagerness))


def stretch(eagerness: float) -> float:
    """0 (patient) doubles every wait, 1 (eager) halves it."""
    return float(2.0 ** (1.0 - 2.0 * eagerness))
