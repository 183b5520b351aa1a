"""Load shedding: when more callers talk than the machine can serve, all of them get a little less,
in steps, instead of some waiting much longer.

| level | what callers get less of |
| --- | --- |
| 0 | nothing |
| 1 | interim transcripts come less often, and no reply is begun while the user speaks |
| 2 | a smaller recognizer, where there is one |
| 3 | replies are kept short (`Generate.brief`) |

What decides is what callers suffer, not how busy a processor is: how long they wait for words and
for answers. Each observation becomes a strain, 1.0 being the longest acceptable wait. Two
strained observations within seconds raise the level by one; the next step needs two more, made
after the first had time to help. The level falls one step after `STAY_S` without such a pair, so an
idle server is back at 0 by itself. A step down that had to be taken back was too early: the next
one waits twice as long.

A single caller is never overload. What that one waits for is what this machine takes anyway, and
only what is much longer counts later. So a slow machine, or a large model that the operator chose,
is not taken for load.
"""

from __future__ import annotations

from collections import deque

TOP = 3

# An idle recognizer has the transcript within 0.2 to 0.35 s of the request; beyond 0.6 s there was
# a queue. The replies to eight callers who take turns should begin within 1.5 s.
TRANSCRIPT_S, REPLY_S = 0.6, 1.5
# where a single caller waits for more than half of these, twice that wait is the bound
USUAL_TIMES = 2.0
# strain that leads from level 0 to 1, 1 to 2, 2 to 3: the steps that cost quality need more
RISE = (1.0, 1.5, 2.0)
# of the strain that led to a level: below it the level may fall. The gap keeps a border case where
# it is
EASE = 0.75
# two strained observations so close together are no accident; eight callers make two or three a
# second
WINDOW_S = 6.0
SETTLE_S = 1.0  # after a change: what is observed then was begun before it
STAY_S, LONGEST_STAY_S = 10.0, 160.0  # on a level before it falls: a few turns of everybody
RELAPSE_S = 30.0  # a rise so soon after a fall takes it back
IDLE_S = 30.0  # nothing was observed: the load is gone, however long the stay

# Interim transcripts: the share of one core that those of all callers together may take. Two thirds
# of a core leave a third, on two cores one and a third, to final words, the language model and the
# voice.
SHARE = (0.7, 0.25, 0.15, 0.1)
# captions that come faster are not read faster; slower ones look dead
MOST_OFTEN_S, LEAST_OFTEN_S = 0.2, 2.0
FIRST_DECODE_S = 0.2  # until one was measured: Whisper base on two cores
SMOOTHING = 0.2  # weight of the newest value

CAUSE = "many people are talking at once"
LESS = (
    "",
    "captions come less often",
    "a smaller recognizer listens for now",
    "answers are kept short for now",
)
OVER = "the rush is over: everything is as usual again"


def interim_every_s(speaking: int, decode_s: float, level: int) -> float:
    """Seconds between two interim transcripts of one caller while `speaking` callers speak and
    one decode takes `decode_s`.
    """
    wanted = max(1, speaking) * decode_s / SHARE[level]
    return min(max(wanted, MOST_OFTEN_S), LEAST_OFTEN_S)


class Load:
    """Observations in, level out.

    `callers` is how many are in a turn now; `now` never goes back. Not thread safe.
    """

    def __init__(self, *, smaller: bool = True) -> None:
        """`smaller`: there is a smaller recognizer for level 2; may change.

        Without one that step changes nothing and is not announced.
        """
        self.decode_s = FIRST_DECODE_S
        self.smaller = smaller
        # what a single caller waits, by the bound that it belongs to
        self._usual = {TRANSCRIPT_S: 0.0, REPLY_S: 0.0}
        # (when, strain), since the last change and within WINDOW_S
        self._strains: deque[tuple[float, float]] = deque()
        self._level = self._told = 0
        self._changed_at = self._strained_at = self._fell_at = self._observed_at = float("-inf")
        self._stay_s = STAY_S

    # --- what is observed ------------------------------------------------------------------------

    def transcript_took(self, seconds: float, callers: int, now: float) -> None:
        """An urgent transcript came `seconds` after its request."""
        self._observe(seconds, TRANSCRIPT_S, callers, now)

    def reply_took(self, seconds: float, callers: int, now: float) -> None:
        """The first sound of a reply came `seconds` after the end of speech of a committed
        turn.
        """
        self._observe(seconds, REPLY_S, callers, now)

    def jobs_wait(self, jobs: int, callers: int, now: float) -> None:
        """`jobs` are waiting for the recognizer; to be called once a second, because what never
        ends is never measured.
        """
        if callers > 1:  # a single caller's queue says nothing about the usual wait
            self._observe(jobs * self.decode_s, TRANSCRIPT_S, callers, now)

    def decode_took(self, seconds: float) -> None:
        """One interim transcript took the recognizer so long."""
        self.decode_s += SMOOTHING * (seconds - self.decode_s)

    # --- what follows ----------------------------------------------------------------------------

    def level(self, now: float) -> int:
        """0 to 3. Depends on what was observed and on `now`, not on how often it is asked."""
        self._fall(now)
        return self._level

    def changed(self, now: float) -> str | None:
        """A sentence for callers, once, when they get less than before, or everything again."""
        level = self.level(now)
        if level > self._told:
            news = [
                LESS[step] for step in range(self._told + 1, level + 1) if step != 2 or self.smaller
            ]
            self._told = level
            return f"{CAUSE}: {', '.join(news)}" if news else None
        if level == 0 and self._told:
            self._told = 0
            return OVER
        return None

    @property
    def reply_limit_s(self) -> float:
        """The longest acceptable time to first audio."""
        return self._limit_s(REPLY_S)

    # --- how -------------------------------------------------------------------------------------

    def _limit_s(self, bound_s: float) -> float:
        return max(bound_s, USUAL_TIMES * self._usual[bound_s])

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
        strain = seconds / self._limit_s(bound_s)
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
