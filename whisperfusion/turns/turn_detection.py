"""Turn detection: how long a pause must be before it ends a turn.

Four things decide: how the sound ended, by heads on the hidden states of the recognizer's encoder
and of the end-of-turn model; the end-of-turn model itself, which uses intonation; the transcript,
which may ask for more; and the silence. Once the transcript is there the heads decide, together or
the one that there is (whisperfusion/engines/whisper/end_of_turn.py): the silence falls linearly
with their log-odds, which is what a constant hazard of going on asks for. Asked again later in the
pause, neither model tells more than the silence itself does. A question or request that is complete
by its words waits little longer than by the table, and a whole sentence that the model finds
complete no longer. A few words that answer what the assistant has just asked ("Yes.", "Chicago")
are complete however they sound: so little sound tells neither the encoder nor the model much.

Without any head, the model's probability and the transcript give the silence by a table. The model
is asked once, early in the pause, because more silence pushes it towards "ended". Whatever is not
known yet counts as doubtful. All is in seconds for a listener of middling eagerness;
bench/README.md describes how the numbers were found.
"""

from __future__ import annotations

from math import exp, inf, log

from whisperfusion.text.answers import is_answer
from whisperfusion.text.end_of_turn import Ending, ending, goes_on
from whisperfusion.text.segmentation import words
from whisperfusion.turns.endpointing import TURN_DETECTION_S

# scores above which the model is sure of the end, finds the turn complete, or perhaps complete
SURE, COMPLETE, DOUBTFUL = 0.965, 0.5, 0.1

SILENCE_S = {
    #                   sure complete doubtful incomplete
    Ending.QUESTION: (TURN_DETECTION_S, 0.35, 0.45, 0.55),
    Ending.REQUEST: (TURN_DETECTION_S, 0.5, 0.65, 0.8),
    Ending.PLAIN: (0.35, 0.87, 0.88, 0.89),
    Ending.DICTATION: (0.8, 1.1, 1.2, 1.4),
    Ending.OPEN: (1.3, 1.6, 1.8, 2.2),
}
MOST_S = 2.6  # ends any turn
# by the heads: seconds at even odds, less for each unit of log-odds, less from patient to eager
EVEN_S, EACH_S, EAGER_S = 1.0, 0.4, 1.6
# the sum of two heads' log-odds tells too much, for they agree; one that reads the pause too little
TOGETHER, MODEL_ALONE = 0.8, 1.3
# what a complete question may wait for the heads beyond the table
ASKED_S = 0.1
WHOLE_WORDS = 2  # words of a statement
# the longest wait after words that are neither whole nor ask for more ("Two people."): heads know
# little of so little sound. As many turns are cut off as without it (of 96 on the telephone; 1.25 s
# cuts off one more, 1.1 s three)
PLAIN_S = 1.4
# the longest wait after an answer to the assistant's question: of the pauses that people make after
# their first three words, 71 % are shorter (0.5 s: 60 %, 0.7 s: 82 %)
ANSWER_S = 0.6
UNLIKELY = 1e-6  # a probability is this far from 0 and 1
# silence that ends a segment of captions: 0.6 s cost a point of word error rate
CAPTION_SILENCE_S = 1.3
# a story makes the pause so much longer for each sign of it, for at most two
NARRATION, NARRATED = 0.4, 2


def silence_needed(
    score: float | None,
    text: str | None,
    language: str | None = "en",
    eagerness: float = 0.5,
    narration: int = 0,
    end_of_turn: float | None = None,
    asked: str = "",
) -> float:
    """Seconds of silence that end the turn.

    `score` None: not known; `text` None: not complete yet. `narration`: signs that the user
    tells a story, whose sentences end without its being over: pauses after which more came, long
    speech. `end_of_turn`: by the heads, of the sound of `text` (`combined`). `asked`: what the
    assistant said before the turn.
    """
    needed = _without_context(score, text, language, eagerness, narration, end_of_turn)
    # who has hesitated in an answer may do so again
    if text is None or narration or not is_answer(text, asked, language):
        return needed
    return max(TURN_DETECTION_S, min(needed, ANSWER_S * stretch(eagerness)))


def _without_context(
    score: float | None,
    text: str | None,
    language: str | None,
    eagerness: float,
    narration: int,
    end_of_turn: float | None,
) -> float:
    by_table = _by_table(score, text, language, eagerness, narration)
    # the heads were fitted to English alone
    if end_of_turn is None or text is None or language != "en":
        return by_table
    if ending(text) is Ending.OPEN:
        return max(by_table, by_heads(end_of_turn, eagerness))
    most_s = min(MOST_S * stretch(eagerness), _fluent(score, text, eagerness, narration, by_table))
    return max(TURN_DETECTION_S, min(most_s, by_heads(end_of_turn, eagerness)))


def _fluent(
    score: float | None, text: str, eagerness: float, narration: int, by_table: float
) -> float:
    """The longest wait after English words that do not ask for more, whatever the heads say."""
    kind, found = ending(text), score or 0.0
    if goes_on(text):
        return inf
    most_s = PLAIN_S * stretch(eagerness) if kind is Ending.PLAIN else inf
    if narration and found <= COMPLETE:
        return most_s
    if kind in (Ending.QUESTION, Ending.REQUEST):
        return by_table + (0.0 if found > SURE else ASKED_S)
    whole = kind is Ending.PLAIN and len(words(text)) >= WHOLE_WORDS
    if whole and found > COMPLETE and not narration:
        return SILENCE_S[kind][1] * stretch(eagerness)
    return most_s


def combined(encoder: float | None, model: float | None) -> float | None:
    """One probability of those by the heads on the recognizer's encoder and on the end-of-turn
    model, of which there may be one or none.
    """
    if encoder is None:
        return None if model is None else _probability(MODEL_ALONE * _log_odds(model))
    if model is None:
        return encoder
    return _probability(TOGETHER * (_log_odds(encoder) + _log_odds(model)))


def by_heads(end_of_turn: float, eagerness: float) -> float:
    """Seconds of silence, without bounds."""
    return EVEN_S + EAGER_S * (0.5 - eagerness) - EACH_S * _log_odds(end_of_turn)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, UNLIKELY), 1.0 - UNLIKELY)
    return log(bounded / (1.0 - bounded))


def _probability(log_odds: float) -> float:
    return 1.0 / (1.0 + exp(-log_odds))


def _by_table(
    score: float | None, text: str | None, language: str | None, eagerness: float, narration: int
) -> float:
    row = Ending.PLAIN if text is None else ending(text, language)
    # without the words no turn can be answered, so nothing is lost
    column = 2
    if score is not None and (text is not None or score <= DOUBTFUL):
        column = sum(score <= bound for bound in (SURE, COMPLETE, DOUBTFUL))
    going_on = text is not None and goes_on(text, language)
    narration += going_on
    if (
        row is Ending.REQUEST and going_on
    ):  # "Then set the unit" is a story, "Set the timer" a request
        row = Ending.PLAIN
    if narration and row is Ending.PLAIN:
        column = max(column, 1)
    # stories have questions in them
    slower = row is Ending.PLAIN or (row is Ending.QUESTION and column > 0)
    longer = 1 + NARRATION * min(narration, NARRATED) if slower else 1.0
    return max(TURN_DETECTION_S, SILENCE_S[row][column] * longer * stretch(eagerness))


def stretch(eagerness: float) -> float:
    """0 (patient) doubles every wait, 1 (eager) halves it."""
    return float(2.0 ** (1.0 - 2.0 * eagerness))


def max_silence_s(replies: bool, eagerness: float) -> float:
    """Seconds of silence that end any turn of a call with `replies`, or any segment of captions."""
    return MOST_S * stretch(eagerness) if replies else CAPTION_SILENCE_S
