"""How long a pause must be before it ends a turn.

Three witnesses: the end-of-turn model, which hears intonation; the words, which may ask for more; and the silence
itself. The model is asked once, early in the pause, because more silence pushes it towards "ended". What it says and
what the words say give the silence that is needed; whatever is not known yet counts as doubtful. The table is in
seconds for a listener of middling eagerness; bench/README.md tells how its numbers were found.
"""

from __future__ import annotations

from fusion.core.endpoint import SCORE_S
from fusion.core.witness import Ending, ending, goes_on

SURE, COMPLETE, DOUBTFUL = 0.965, 0.5, 0.1  # scores above which the model is sure of the end, finds the turn complete, or perhaps complete

SILENCE_S = {
    #                   sure complete doubtful incomplete
    Ending.QUESTION: (SCORE_S, 0.35, 0.45, 0.55),
    Ending.REQUEST: (SCORE_S, 0.5, 0.65, 0.8),
    Ending.PLAIN: (0.35, 0.87, 0.88, 0.89),
    Ending.SPELLING: (0.8, 1.1, 1.2, 1.4),
    Ending.OPEN: (1.3, 1.6, 1.8, 2.2),
}
MOST_S = 2.6  # ends any turn
NARRATION, NARRATED = 0.4, 2  # who tells a story waits so much longer for each sign of it, for at most two


def silence_needed(score: float | None, text: str | None, language: str = "en", eagerness: float = 0.5, telling: int = 0) -> float:
    """Seconds of silence that end the turn.

    `score` None: not known; `text` None: the words are not known yet. `telling`: signs that somebody tells a story, whose sentences
    end without its being over: pauses after which more came, long speech.
    """
    row = Ending.PLAIN if text is None else ending(text, language)
    column = 2 if score is None else 0 if score > SURE else 1 if score > COMPLETE else 2 if score > DOUBTFUL else 3
    going_on = text is not None and goes_on(text, language)
    telling += going_on
    if row is Ending.REQUEST and going_on:  # "Then set the unit" is told, "Set the timer" is asked
        row = Ending.PLAIN
    if telling and row is Ending.PLAIN:
        column = max(column, 1)
    told = row is Ending.PLAIN or (row is Ending.QUESTION and column > 0)  # stories have questions in them
    longer = 1 + NARRATION * min(telling, NARRATED) if told else 1.0
    return max(SCORE_S, SILENCE_S[row][column] * longer * stretch(eagerness))


def stretch(eagerness: float) -> float:
    """0 (patient) doubles every wait, 1 (eager) halves it."""
    return float(2.0 ** (1.0 - 2.0 * eagerness))
