"""Whose turn it is: the only writer of turns and of memory. One object per call.

Events come in with `now` (seconds on any steady clock), commands go out, `wake_at` says when to call
`wake`. The object never hears audio and never waits: the shell around it moves bytes.

    IDLE    the call opens           Prepare: the model reads the instructions            -> IDLE
    IDLE    speech starts            hear it, Prepare: it reads what was said since       -> USER
    USER    partial words            show them; a guess that they contradict is cancelled,
                                     words that sound whole are a guess themselves,
                                     others: Prepare, the model reads them                -> USER
    USER    it may have stopped      words that reach to there are a guess                -> USER
    USER    speech stops             -                                                    -> PAUSE
    PAUSE   words up to the pause    changed: Generate as a guess (revision + 1)          -> PAUSE
    PAUSE   long enough, no words    HeardYou; the words are on their way                 -> PAUSE
    PAUSE   long enough, words known none: drop the turn                                  -> IDLE
                                     else: Commit the guess (or Generate and Commit)      -> BOT
    PAUSE   speech starts            the same turn goes on                                -> USER
    BOT     nothing is heard yet     Thinking, once                                       -> BOT
    BOT     pieces of the reply      show them                                            -> BOT
    BOT     all of it was played     remember it                                          -> IDLE
    BOT     speech starts            Hold: the sound stops at once                        -> DOUBT
            ... in a call where our own echo is heard: listen, and let the sound go on    -> DOUBT
    DOUBT   speech starts again      wait for the words of that too                       -> DOUBT
    DOUBT   nothing, a backchannel, or an echo of our own words:  Resume                  -> BOT
    DOUBT   few words, with our sound: Resume; a turn 0.6 s later unless it comes again  -> BOT
    DOUBT   words                    Cancel, remember what was heard                      -> USER or PAUSE
    any     an answer is asked for   IDLE, BOT: a new one, Generate and Commit; in a pause
                                     that is over: with its words; while somebody speaks: - -> BOT
    any     cleared                  what is being said is dropped; in doubt: Resume      -> IDLE or BOT
    any     a line is typed          Cancel what is running, Generate and Commit          -> BOT
    any     interrupted by hand      Cancel, remember what was heard                      -> IDLE
    any     Failed, or nobody answers in time: Cancel, say so in words, and in voice      -> BOT, then IDLE

Where `answers` is off, the end of a turn is only remembered; where `interruptible` is off, words over an answer wait for its end.
A guess is only a `Generate` before its `Commit`. Its sentences are kept and shown when it is committed. Whoever goes on
speaking before anything of the answer was heard has not been cut off: the answer is dropped, and the next one reads both parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from fusion.core.dialogue import Dialogue
from fusion.core.doubt import ECHO_LAG_S, OVERLAP, Doubt, Verdict
from fusion.core.endpoint import samples
from fusion.core.memory import Memory
from fusion.core.said import Said
from fusion.core.text import words
from fusion.core.turns import (
    Answering,
    BotSaid,
    Command,
    Counts,
    HeardYou,
    Interrupted,
    Marks,
    Played,
    Reply,
    StartHearing,
    StopHearing,
    Thinking,
    TurnFailed,
    UserSaid,
)
from fusion.messages import Called, Commit, Failed, Hold, Line, Resume, Sentence, Spoken

WORDS_WAIT_S = 20.0  # for the recognizer, after the end of a turn
REPLY_WAIT_S = 30.0  # for any sign of life of the reply
DOUBT_WAIT_S = 2.5  # nobody coughs for longer, and no recognizer that keeps up takes longer
THINKING_S = 0.3  # after the turn is over, when there is no sound yet
COVERED = samples(0.3)  # samples at the end of the sound without a word of their own: less than most words last
CUT_OFF_S = 1.0  # who takes the turn back so soon after the first sound had not finished
FILLER_S = 1.0  # after the end of speech: by then people ask "hello?"


class State(Enum):
    IDLE = "idle"
    USER = "user"
    PAUSE = "pause"
    BOT = "bot"
    DOUBT = "doubt"


class Conversation:
    """Turn-taking of one call. `replies` False = captions only; `automatic` False = turns end only by commit."""

    def __init__(self, call: str, instructions: str = "", history: Sequence[Line] = (), *, replies: bool = True, filler: str = "",
                 counts: Counts | None = None) -> None:
        self.dialogue = Dialogue(call, instructions, history, counts)
        self.replies, self.filler = replies, filler
        self.automatic = True
        self.answers = True  # False: a turn is answered only when that is asked for (`respond`)
        self.interruptible = True  # False: what is said over an answer is the next turn
        self.language = "en"
        self.early_guesses = True  # off when the machine has no time to waste
        self.state = State.IDLE
        self._deadline: float | None = None
        self._thinking_at: float | None = None
        self._doubt = Doubt(filler)
        self._marks = Marks(0.0, 0.0, 0.0)
        self._said = self._answered = Said()  # in this turn; in the one that is being answered
        self._put_off: Said | None = None  # words that may have been an echo, until this is known
        self._put_off_until: float | None = None
        self._asked: Mapping[str, Any] | None = None  # how the turn whose words are on their way shall be answered, if that was asked for

    @property
    def wake_at(self) -> float | None:
        due = [at for at in (self._deadline, self._thinking_at, self._put_off_until) if at is not None]
        return min(due) if due else None

    def opened(self) -> list[Command]:
        """The caller is there: the model can read the instructions before anybody speaks."""
        return [self.dialogue.prepare()] if self.replies else []

    # --- what the microphone tells ------------------------------------------------------------------------

    def speech_started(self, at: int, now: float) -> list[Command]:
        if self.state is State.IDLE:
            self._doubt.after_silence(now)
            self.state, self._said = State.USER, Said(at)
            return [StartHearing(at), *self.opened()]
        if self.state is State.PAUSE:
            self.state, self._deadline = State.USER, None
            self._said.goes_on(at)
            return []
        if self.state is State.BOT and self.dialogue.reply:
            self.state, self._said = State.DOUBT, Said(at)
            self._deadline, self._thinking_at, self._put_off_until = now + DOUBT_WAIT_S, None, None
            held = self._doubt.begins(self.dialogue.reply, now, self.interruptible)
            return [StartHearing(at), *([Hold(self.dialogue.reply.ticket)] if held else [])]
        if self.state is State.DOUBT:
            self._said.goes_on(at)
        return []

    def speech_stopped(self, at: int, ended_at: float, now: float) -> list[Command]:
        """`ended_at` is when, on the clock of `now`, sample `at` was heard."""
        self._said.stops(at)
        self._marks = Marks(ended_at, now, now)
        if self.state is State.USER:
            self.state, self._deadline = State.PAUSE, now + WORDS_WAIT_S
            return self._guess(now) if self._said.known else []  # the recognizer may be faster than the endpoint
        if self.state is State.DOUBT:
            self._deadline = now + DOUBT_WAIT_S
            return self._judge_doubt(now) if self._said.known else []  # else its words are on their way
        return []

    def falls_silent(self, at: int, now: float) -> list[Command]:
        """The sound may have stopped at sample `at`, and its last words have been asked for: perhaps those that are known are all."""
        if self.state is not State.USER or not self.early_guesses or at - self._said.heard_to > COVERED:
            return []
        return self._guess(now)

    def turn_ended(self, sure: bool, now: float, *, by_hand: bool = False) -> list[Command]:
        """The endpoint's verdict, or the caller's own (`by_hand`, the only one that counts in manual mode)."""
        if self.state not in (State.PAUSE, State.DOUBT) or not (self.automatic or by_hand):
            return []
        self._said.over = sure or self._said.over
        if self.state is State.DOUBT:
            return []
        return self._finish_turn(now) if self._said.known else self._heard_you()

    @property
    def closing(self) -> bool:
        """The turn is surely over and only its words are missing: new speech is a new turn."""
        return self.state is State.PAUSE and self._said.over

    @property
    def words(self) -> str | None:
        """The words up to the present pause; None while they are on their way."""
        return self._said.text if self._said.known else None

    @property
    def telling(self) -> int:
        """Signs that the user tells a story: how often this turn went on after a pause, and its length."""
        return self._said.telling

    def heard_words(self, text: str, upto: int, now: float, *, doubtful: bool = False, ending: bool = False) -> list[Command]:
        """The recognizer's words for the audio from StartHearing up to sample `upto`.

        `doubtful`: it may have been a noise; `ending`: the sound may just have stopped, and its last words are on their way.
        """
        before, doubt = self._said.text, self.state is State.DOUBT
        if doubt and doubtful and self.dialogue.reply and self.dialogue.reply.played:  # else there is nothing that a noise could spoil
            text = ""
        if self.state not in (State.USER, State.PAUSE, State.DOUBT) or not self._said.take(text, upto):
            return []
        if doubt:
            return self._judge_doubt(now)
        if not self._said.known:
            return [*self.dialogue.drop_wrong_guess(self._said.text), *self._early_guess(before, ending, now)]
        return self._know(now)

    # --- what the client asks -----------------------------------------------------------------------------

    def typed(self, text: str, now: float) -> list[Command]:
        """A whole turn as a line of text."""
        commands = [*self._abandon_reply(), StopHearing()]
        self._said, self._marks = Said(), Marks(now, now, now)
        return [*commands, *self._finish_with(text, now)]

    def interrupt(self, now: float) -> list[Command]:
        """Stop whatever is going on."""
        commands = [*self._abandon_reply(), StopHearing()]
        if self._asked is not None:  # an answer that never began
            commands.append(Interrupted(self.dialogue.turn, ""))
            self.dialogue.next_turn()
        self._rest()
        return commands

    def respond(self, changes: Mapping[str, Any], now: float, id: str = "") -> list[Command]:
        """Answer what was said so far; a turn that is over, but whose words are still on their way, when they come.

        Nothing happens while somebody speaks: the turn comes first. `changes`: "instructions", "tools" and "max_tokens" of this
        answer only; `id`: the client's name for it.
        """
        if self.closing:
            self._asked = changes
            return [Answering(self.dialogue.turn, id)]
        if self.state in (State.USER, State.PAUSE, State.DOUBT):
            return []
        stopped, self._marks = self._abandon_reply(), Marks(now, now, now)
        return [*stopped, Answering(self.dialogue.turn, id), *self._answer(changes, now)]

    def _answer(self, changes: Mapping[str, Any], now: float) -> list[Command]:
        """What was said so far, with nothing new."""
        reply, asked = self.dialogue.respond(changes, now)
        self._answered = Said()
        return [*asked, *self._let_out(reply, now)]

    def remember(self, lines: Sequence[Line]) -> list[Command]:
        """`lines` are what was said so far. A guess that knew otherwise is dropped."""
        self.dialogue.memory = Memory(lines)
        return self.dialogue.drop_guess()

    def result(self, id: str, output: str) -> list[Command]:
        self.dialogue.memory.used("result", json.dumps({"id": id, "output": output}))
        return self.dialogue.drop_guess()

    def clear(self, now: float) -> list[Command]:
        """What is being said is of no interest; an answer goes on."""
        if self.state is State.DOUBT and self.dialogue.reply:
            return self._resume(now)
        if self.state not in (State.USER, State.PAUSE):
            return []
        self._said.text = ""
        return self._nothing_said(now)

    def heard_up_to(self, turn: int, seconds: float) -> list[Command]:
        return self.dialogue.heard_up_to(turn, seconds) if seconds >= 0 else []

    # --- what the other processes tell --------------------------------------------------------------------

    def sentence(self, message: Sentence, now: float) -> list[Command]:
        reply = self.dialogue.reply
        if reply is None or message.ticket != reply.ticket or reply.complete:
            return []
        reply.take(message, now)
        if not reply.committed:
            return []
        self._patience(now)
        shown = BotSaid(reply.ticket.turn, message.index, message.text, message.last, message.cut)
        return [shown, *(self._settle(now) if reply.played_out and reply.complete else [])]

    def called(self, message: Called, now: float) -> list[Command]:
        """The reply uses a function."""
        reply = self.dialogue.reply
        if reply is None or message.ticket != reply.ticket or reply.complete:
            return []
        reply.calls.append(message)
        self._patience(now)
        return list(reply.called()[-1:]) if reply.committed else []

    def spoken(self, message: Spoken, now: float) -> list[Command]:
        reply = self.dialogue.reply
        if reply is None or message.ticket != reply.ticket or not reply.committed:
            return []
        self._thinking_at = None
        reply.played[message.index] = (message.heard_s, message.total_s)
        seconds = sum(heard for heard, _ in reply.played.values())
        commands: list[Command] = [Played(reply.ticket.turn, seconds, message.last)]
        if reply.sounded_at is None and not reply.excuse and message.index >= 0:
            reply.sounded_at = now
            commands.append(self._marks.latency(reply, now))
        self._patience(now)
        reply.played_out = message.last
        return [*commands, *(self._settle(now) if reply.played_out and reply.complete else [])]

    def failed(self, message: Failed, now: float) -> list[Command]:
        """A stage gave up on this turn."""
        reply = self.dialogue.reply
        if message.stage == "asr":
            hearing = self.state in (State.USER, State.PAUSE, State.DOUBT)
            return self._fail("asr", message.reason, self.replies, now) if hearing else []
        if reply is None or message.ticket != reply.ticket:
            return []
        if not reply.committed:
            return self._without_guess(now)
        return self._fail(message.stage, message.reason, message.stage == "llm" and not reply.excuse, now)

    def stage_down(self, stage: str, now: float) -> list[Command]:
        """The process of `stage` died; whatever it was doing for this call is lost."""
        reply = self.dialogue.reply
        if reply is None or stage not in ("llm", "tts") or (stage == "llm" and reply.complete):
            return []
        return self.failed(Failed(reply.ticket, stage, f"The {stage} process stopped and is being restarted."), now)

    def wake(self, now: float) -> list[Command]:
        """To be called at `wake_at`: every wait ends."""
        if self._thinking_at is not None and now >= self._thinking_at:
            self._thinking_at = None
            return [Thinking(self.dialogue.turn)] if self.state is State.BOT else []
        if self._put_off_until is not None and now >= self._put_off_until:
            return self._take_up(now)
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        if self.state is State.PAUSE and self._said.known:
            if not self.automatic:
                return []  # the caller decides when
            self._said.over = True
            return self._finish_turn(now)
        if self.state is State.PAUSE:
            return self._fail("asr", f"No words came within {WORDS_WAIT_S:.0f} seconds.", False, now)
        if self.state is State.BOT:
            stage = "tts" if self.dialogue.reply and self.dialogue.reply.complete else "llm"
            return self._fail(stage, f"No answer came within {REPLY_WAIT_S:.0f} seconds.", stage == "llm", now)
        if self.state is State.DOUBT:
            return self._judge_doubt(now, too_late=True)
        return []

    # --- the turn -----------------------------------------------------------------------------------------

    def _know(self, now: float) -> list[Command]:
        """All words up to the pause are known."""
        self._marks = replace(self._marks, words_at=now)
        return self._finish_turn(now) if self._said.over else self._guess(now)

    def _guess(self, now: float) -> list[Command]:
        """In a pause: begin the answer, in case that the turn is over."""
        said = self._said
        if self.dialogue.answers(said.text):
            return []
        commands = self.dialogue.drop_wrong_guess(said.text)
        if not (self._may_guess() and said.guesses.in_pause(said.text, said.speech_s(), self.language)):
            return commands
        return [*commands, self.dialogue.guess(said.text, now)]

    def _early_guess(self, before: str, ending: bool, now: float) -> list[Command]:
        """While somebody speaks: begin the answer, or at least let the model read what was said so far."""
        said = self._said
        if self.dialogue.reply or not (self.early_guesses and words(said.text) and self._may_guess()):
            return []
        if said.guesses.while_speaking(said.text, before, said.speech_s(), self.language):
            return [self.dialogue.guess(said.text, now)]
        if ending:
            return self._guess(now)
        return [self.dialogue.prepare(said.text)]

    def _may_guess(self) -> bool:
        return self.replies and self.answers and self.automatic and not self._doubt.is_echo(self._said.text)

    def _without_guess(self, now: float) -> list[Command]:
        """The guess failed: forget it; the turn itself goes on and will ask again."""
        self.dialogue.forget_guess()
        return self._finish_turn(now) if self._said.over and self._said.known else []

    def _heard_you(self) -> list[Command]:
        if self._said.told or not self.replies:
            return []
        self._said.told = True
        return [HeardYou(self.dialogue.turn)]

    def _finish_turn(self, now: float) -> list[Command]:
        if words(self._said.text) and not self._doubt.is_echo(self._said.text):
            return [StopHearing(), *self._finish_with(self._said.text, now)]
        self._said.text = ""
        return self._nothing_said(now)

    def _nothing_said(self, now: float) -> list[Command]:
        commands = [*self.dialogue.drop_wrong_guess(""), StopHearing(), UserSaid(self.dialogue.turn, "")]
        asked = self._asked
        self._rest()
        return commands if asked is None else [*commands, *self._answer(asked, now)]

    def _finish_with(self, text: str, now: float) -> list[Command]:
        """The user's turn is `text`: show it, remember it, let the answer out."""
        commands: list[Command] = [*self._heard_you(), UserSaid(self.dialogue.turn, text)]
        self.dialogue.counts.turns += 1
        if self._asked:  # in a way of its own, which no guess knew
            self.dialogue.memory.user(text)
            return [*commands, *self._answer(self._asked, now)]
        if not self.replies or not (self.answers or self._asked is not None):
            self.dialogue.memory.user(text)
            self.dialogue.next_turn()
            self._rest()
            return commands
        self._answered = self._said
        reply, asked = self.dialogue.commit(text, now)
        return [*commands, *asked, *self._let_out(reply, now)]

    def _let_out(self, reply: Reply, now: float) -> list[Command]:
        """The answer is wanted: what there is of it, and what will come."""
        self._asked = None
        self.state, self._thinking_at = State.BOT, now + THINKING_S
        self._patience(now)
        after_s = max(0.0, self._marks.ended_at + FILLER_S - now) if self.filler else 0.0
        return [Commit(reply.ticket, self.filler, after_s), *reply.said()]

    # --- the answer ---------------------------------------------------------------------------------------

    def _patience(self, now: float) -> None:
        if self.state is State.BOT:
            audio = sum(total for _, total in self.dialogue.reply.played.values()) if self.dialogue.reply else 0.0
            self._deadline = now + REPLY_WAIT_S + audio

    def _judge_doubt(self, now: float, too_late: bool = False) -> list[Command]:
        """Somebody makes a sound over the answer: do they want the turn? `too_late`: no more is waited for."""
        verdict = self._doubt.verdict(self._said, too_late) if self.dialogue.reply else Verdict.YIELD
        if not self.interruptible and (verdict in (Verdict.YIELD, Verdict.PUT_OFF) or not self._said.known):
            verdict = Verdict.WAIT
        if verdict is Verdict.YIELD:
            return self._yield(now)
        if verdict is Verdict.RESUME:
            if self._put_off and not self._doubt.comes_again(self._said):
                return [StopHearing(), *self._take_up(now)]
            self._put_off = None
            return self._resume(now)
        if verdict is Verdict.PUT_OFF:
            self._put_off, self._put_off_until = self._said, now + ECHO_LAG_S
            return self._resume(now)
        if verdict is Verdict.SKIP:
            self._said, self._put_off = self._said.from_here(OVERLAP), None
            return [StartHearing(self._said.began)]
        if too_late:
            self._deadline = now + DOUBT_WAIT_S
        return []

    def _resume(self, now: float) -> list[Command]:
        assert self.dialogue.reply is not None
        self.state = State.BOT
        self._patience(now)
        if not self._doubt.held:
            return [StopHearing()]
        self.dialogue.counts.false_interruptions += 1
        self._doubt.resumes(now)
        return [StopHearing(), Resume(self.dialogue.reply.ticket)]

    def _yield(self, now: float) -> list[Command]:
        """The user took the turn: keep hearing the same utterance."""
        heard_s = sum(heard for heard, _ in self.dialogue.reply.played.values()) if self.dialogue.reply else 0.0
        if self.dialogue.reply and self.dialogue.reply.played:
            self.dialogue.counts.interruptions += 1
        else:
            self.dialogue.counts.merged_turns += 1
        earlier, commands = self._put_off, self._abandon_reply()
        commands += self._said_before(earlier)
        self._said = self._said.as_new_turn(self._answered.pauses + 1 if heard_s < CUT_OFF_S else 0)
        return [*commands, *self._go_on(now)]

    def _said_before(self, earlier: Said | None) -> list[Command]:
        """What was put off belongs to what is being said."""
        if earlier is None:
            return []
        turn = self.dialogue.turn
        self.dialogue.memory.user(earlier.text)
        self.dialogue.next_turn()
        return [UserSaid(turn, earlier.text)]

    def _take_up(self, now: float) -> list[Command]:
        """What was put off was no echo: it is a turn."""
        assert self._put_off is not None
        self._said = self._put_off
        self.dialogue.counts.interruptions += 1
        return [*self._abandon_reply(), *self._finish_with(self._said.text, now)]

    def _go_on(self, now: float) -> list[Command]:
        """What was heard in doubt is the user's turn."""
        self.state = State.USER if self._said.sounding else State.PAUSE
        self._deadline = None if self._said.sounding else now + WORDS_WAIT_S
        return self._know(now) if self._said.known else []

    def _abandon_reply(self) -> list[Command]:
        self._thinking_at = self._put_off = self._put_off_until = None
        return self.dialogue.abandon()

    def _settle(self, now: float) -> list[Command]:
        """The answer has been played: the next turn may begin, or has begun under its last word."""
        reply, self._thinking_at = self.dialogue.settle(), None
        if reply and not reply.excuse:
            self._doubt.played(reply, now)
        earlier, self._put_off, self._put_off_until = self._put_off, None, None
        if self.state is State.DOUBT:
            return [*self._said_before(None if self._doubt.came_back(self._said.text) else earlier), *self._go_on(now)]
        if earlier:
            self._said = earlier
            return self._finish_with(earlier.text, now)
        self._rest()
        return []

    def _fail(self, stage: str, reason: str, excusable: bool, now: float) -> list[Command]:
        failed = TurnFailed(self.dialogue.turn, stage, reason)
        commands: list[Command] = [*self.dialogue.fail(), StopHearing(), failed]
        self._rest()
        if excusable:
            self.state = State.BOT
            commands += self.dialogue.apologise(now)
            self._patience(now)
        return commands

    def _rest(self) -> None:
        self.state, self._deadline, self._thinking_at, self.dialogue.reply = State.IDLE, None, None, None
        self._said, self._put_off, self._put_off_until, self._asked = Said(), None, None, None
