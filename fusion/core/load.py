"""When more people talk than the machine can serve, everybody gets a little less, in steps, and nobody a lot later.

| level | what callers get less of |
| --- | --- |
| 0 | nothing |
| 1 | partial transcripts come less often, and no answer is guessed in the middle of speech |
| 2 | a smaller recognizer listens, where there is one |
| 3 | answers are kept short (`Generate.brief`) |

What decides is what callers suffer, not how busy a processor is: how long they wait for words and for answers. Each
observation becomes a strain, 1.0 being the most that we let anybody wait. Two strained observations within seconds raise the
level by one; the next step needs two more, made after the first had time to help. The level falls one step after `STAY_S`
without such a pair, so an idle house is back at 0 by itself. A step down that had to be taken back was too early: the next
one waits twice as long.

A lone caller is never overload: there is nobody to share with. What he waits for tells what this machine takes anyway,
and only what is much longer than that counts later. So a slow machine, or a large model that somebody chose, is no rush.
"""

from __future__ import annotations

from collections import deque

TOP = 3

# A recognizer at rest knows the words within 0.2 to 0.35 s of the request; beyond 0.6 s somebody stood in a queue. The answer
# to eight callers who take turns shall begin within 1.5 s.
WORDS_S, ANSWER_S = 0.6, 1.5
USUAL_TIMES = 2.0  # where a lone caller waits for more than half of these, twice his wait is the bound
RISE = (1.0, 1.5, 2.0)  # strain that leads from level 0 to 1, 1 to 2, 2 to 3: the steps that cost quality need more
EASE = 0.75  # of the strain that led to a level: below it the level may fall. The gap keeps a border case where it is
WINDOW_S = 6.0  # two strained observations so close together are no accident; eight callers make two or three a second
SETTLE_S = 1.0  # after a change: what is observed then was begun before it
STAY_S, LONGEST_STAY_S = 10.0, 160.0  # on a level before it falls: a few turns of everybody
RELAPSE_S = 30.0  # a rise so soon after a fall takes it back
IDLE_S = 30.0  # nothing was observed: whoever made the rush is gone, however long the stay

# Partial transcripts: the share of one core that those of all callers together may take. Two thirds of a core leave a third,
# on two cores one and a third, to final words, the language model and the voice.
SHARE = (0.7, 0.25, 0.15, 0.1)
MOST_OFTEN_S, LEAST_OFTEN_S = 0.2, 2.0  # captions that come faster are not read faster; slower ones look dead
FIRST_DECODE_S = 0.2  # until one was measured: Whisper base on two cores
SMOOTHING = 0.2  # weight of the newest value

CAUSE = "many people are talking at once"
LESS = ("", "captions come less often", "a smaller recognizer listens for now", "answers are kept short for now")
OVER = "the rush is over: everything is as usual again"


def partial_every_s(speaking: int, decode_s: float, level: int) -> float:
    """Seconds between two partial transcripts of one caller while `speaking` callers speak and one decode takes `decode_s`."""
    wanted = max(1, speaking) * decode_s / SHARE[level]
    return min(max(wanted, MOST_OFTEN_S), LEAST_OFTEN_S)


class Load:
    """Observations in, level out. `callers` is how many are in a turn now; `now` never goes back. Not thread safe."""

    def __init__(self, *, smaller: bool = True) -> None:
        """`smaller`: there is a smaller recognizer for level 2; may change. Without one that step changes nothing and is not told."""
        self.decode_s = FIRST_DECODE_S
        self.smaller = smaller
        self._usual = {WORDS_S: 0.0, ANSWER_S: 0.0}  # what a lone caller waits, by the bound that it belongs to
        self._strains: deque[tuple[float, float]] = deque()  # (when, strain), since the last change and within WINDOW_S
        self._level = self._told = 0
        self._changed_at = self._strained_at = self._fell_at = self._observed_at = float("-inf")
        self._stay_s = STAY_S

    # --- what is observed -------------------------------------------------------------------------------

    def words_took(self, seconds: float, callers: int, now: float) -> None:
        """Urgent words came `seconds` after they were asked for."""
        self._observe(seconds, WORDS_S, callers, now)

    def answer_took(self, seconds: float, callers: int, now: float) -> None:
        """The first sound of an answer came `seconds` after the end of speech of a committed turn."""
        self._observe(seconds, ANSWER_S, callers, now)

    def jobs_wait(self, jobs: int, callers: int, now: float) -> None:
        """`jobs` are waiting for the recognizer; to be told once a second, because what never ends is never measured."""
        if callers > 1:  # a lone caller's queue tells nothing about his usual wait
            self._observe(jobs * self.decode_s, WORDS_S, callers, now)

    def decode_took(self, seconds: float) -> None:
        """One partial transcript took the recognizer so long."""
        self.decode_s += SMOOTHING * (seconds - self.decode_s)

    # --- what follows -----------------------------------------------------------------------------------

    def level(self, now: float) -> int:
        """0 to 3. Depends on what was observed and on `now`, not on how often it is asked."""
        self._fall(now)
        return self._level

    def changed(self, now: float) -> str | None:
        """A sentence for callers, once, when they get less than they know of, or everything again."""
        level = self.level(now)
        if level > self._told:
            news = [LESS[step] for step in range(self._told + 1, level + 1) if step != 2 or self.smaller]
            self._told = level
            return f"{CAUSE}: {', '.join(news)}" if news else None
        if level == 0 and self._told:
            self._told = 0
            return OVER
        return None

    # --- how --------------------------------------------------------------------------------------------

    def _observe(self, seconds: float, bound_s: float, callers: int, now: float) -> None:
        self._fall(now)
        if callers <= 1:
            usual = self._usual[bound_s]
            self._usual[bound_s] = usual + SMOOTHING * (seconds - usual) if usual else seconds
            return
        self._observed_at = now
        if now < self._changed_at + SETTLE_S:
            return
        while self._strains and self._strains[0][0] < now - WINDOW_S:
            self._strains.popleft()
        strain = seconds / max(bound_s, USUAL_TIMES * self._usual[bound_s])
        pair = min(strain, max((earlier for _, earlier in self._strains), default=0.0))
        self._strains.append((now, strain))
        if self._level < TOP and pair >= RISE[self._level]:
            self._rise(now)
        elif self._level and pair >= EASE * RISE[self._level - 1]:
            self._strained_at = now

    def _rise(self, now: float) -> None:
        if now < self._fell_at + RELAPSE_S:
            self._stay_s = min(2 * self._stay_s, LONGEST_STAY_S)
        elif not self._level:
            self._stay_s = STAY_S
        self._fell_at = float("-inf")  # one fall is taken back once
        self._change(self._level + 1, now)

    def _fall(self, now: float) -> None:
        """Take all steps down that were due until `now`, each at its own time."""
        while self._level:
            calm = max(self._changed_at, self._strained_at) + self._stay_s
            idle = max(self._observed_at + IDLE_S, self._changed_at + STAY_S)
            due = min(calm, idle)
            if due > now:
                return
            self._fell_at = due
            self._change(self._level - 1, due)

    def _change(self, level: int, at: float) -> None:
        self._level, self._changed_at = level, at
        self._strains.clear()
