"""Whose turn it is: the only writer of turns and of memory. One object per call.

Events come in with `now` (seconds on any steady clock), commands go out, `wake_at` says when to call
`wake`. The object never hears audio and never waits: the shell around it moves bytes.

    IDLE    the call opens           Prepare: the model reads the instructions            -> IDLE
    IDLE    speech starts            hear it, Prepare: it reads what was said since       -> USER
    USER    partial words            show them; a guess that they contradict is cancelled
    USER    speech stops             -                                                    -> PAUSE
    PAUSE   words up to the pause    changed: Generate as a guess (revision + 1)          -> PAUSE, or as below
    PAUSE   turn over, words known   none: drop the turn                                  -> IDLE
                                     only the model says so, and the words end in "the":  -> PAUSE
                                     else: Commit the guess (or Generate and Commit)      -> BOT
    PAUSE   speech starts            the same turn goes on                                -> USER
    BOT     pieces of the reply      show them                                            -> BOT
    BOT     all of it was played     remember it                                          -> IDLE
    BOT     speech starts            Hold: the sound stops at once                        -> DOUBT
    DOUBT   speech starts again      wait for the words of that too                       -> DOUBT
    DOUBT   nothing, a backchannel, or an echo of our own words:  Resume                  -> BOT
    DOUBT   words                    Cancel, remember what was heard                      -> USER or PAUSE
    any     a line is typed          Cancel what is running, Generate and Commit          -> BOT
    any     interrupted by hand      Cancel, remember what was heard                      -> IDLE
    any     Failed, or nobody answers in time: Cancel, say so in words, and in voice      -> BOT, then IDLE

A guess is only a `Generate` before its `Commit`. Its sentences are kept and shown when it is committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from fusion.core.endpoint import TAIL
from fusion.core.memory import Memory
from fusion.core.text import is_backchannel, is_echo, same_words, unfinished, words
from fusion.core.turns import BotSaid, Command, Interrupted, Latency, Marks, Played, Reply, StartHearing, StopHearing, TurnFailed, UserSaid
from fusion.messages import Cancel, Commit, Failed, Generate, Hold, Line, Prepare, Resume, Sentence, Spoken, Ticket

WORDS_WAIT_S = 20.0  # for the recognizer, after the end of a turn
REPLY_WAIT_S = 30.0  # for any sign of life of the reply
DOUBT_WAIT_S = 2.5  # nobody coughs for longer, and no recognizer that keeps up takes longer
GUESS_SPEECH_S = 10.0  # no guesses in turns with more speech: they are rarely over at their first pause
GUESSES = 3  # at most, in one turn
APOLOGY = "Sorry, something went wrong. Please try again."


class State(Enum):
    IDLE = "idle"
    USER = "user"
    PAUSE = "pause"
    BOT = "bot"
    DOUBT = "doubt"



class Conversation:
    """Turn-taking of one call. `replies` False = captions only; `automatic` False = turns end only by commit."""

    def __init__(self, call: str, instructions: str = "", history: Sequence[Line] = (), *, replies: bool = True) -> None:
        self.call, self.instructions, self.replies = call, instructions, replies
        self.automatic = True
        self.memory = Memory(history)
        self.state = State.IDLE
        self.turn, self.revision = 1, 0
        self.reply: Reply | None = None
        self.wake_at: float | None = None
        self.guesses = self.guesses_used = 0  # over the whole call: the reuse rate
        self._text = ""  # the user's words so far in this turn
        self._heard_to = -1  # sample up to which they are known
        self._began = self._stopped = 0  # samples
        self._over: bool | None = None  # the turn has ended: True = surely, False = the model says so
        self._marks = Marks(0.0, 0.0)
        self._turn_guesses = 0

    def opened(self) -> list[Command]:
        """The caller is there: the model can read the instructions before anybody speaks."""
        return [Prepare(self.ticket, self.memory.prompt(self.instructions))] if self.replies else []

    # --- what the microphone tells ------------------------------------------------------------------------

    def speech_started(self, at: int, now: float) -> list[Command]:
        self._over = None
        if self.state is State.IDLE:
            self._hear(at, State.USER)
            return [StartHearing(at), *self.opened()]
        if self.state is State.PAUSE:
            self.state, self.wake_at = State.USER, None
            return []
        if self.state is State.BOT and self.reply:
            self._hear(at, State.DOUBT)
            self.wake_at = now + DOUBT_WAIT_S
            return [StartHearing(at), Hold(self.reply.ticket)]
        if self.state is State.DOUBT:
            self._stopped = self._began - 1  # the sound goes on: what was heard of it decides nothing yet
        return []

    def speech_stopped(self, at: int, ended_at: float, now: float) -> list[Command]:
        """`ended_at` is when, on the clock of `now`, sample `at` was heard."""
        self._stopped = at
        self._marks = Marks(ended_at, now)
        if self.state is State.USER:
            self.state, self.wake_at = State.PAUSE, now + WORDS_WAIT_S
            if self.known:  # the recognizer was faster than the endpoint
                self._marks = replace(self._marks, words_at=now)
                return self._guess(now)
        elif self.state is State.DOUBT:
            self.wake_at = now + DOUBT_WAIT_S  # its words are on their way
        return []

    def turn_ended(self, sure: bool, now: float, *, by_hand: bool = False) -> list[Command]:
        """The endpoint's verdict, or the caller's own (`by_hand`, the only one that counts in manual mode)."""
        if self.state not in (State.PAUSE, State.DOUBT) or not (self.automatic or by_hand):
            return []
        self._over = sure or self._over is True
        if self.state is State.PAUSE and self.known:
            return self._finish_turn(now)
        return []

    @property
    def closing(self) -> bool:
        """The turn is surely over and only its words are missing: new speech is a new turn."""
        return self.state is State.PAUSE and self._over is True

    def heard_words(self, text: str, upto: int, now: float) -> list[Command]:
        """The recognizer's words for the audio from StartHearing up to sample `upto`."""
        if self.state not in (State.USER, State.PAUSE, State.DOUBT) or upto <= max(self._heard_to, self._began):
            return []
        self._text, self._heard_to = text, upto
        if self.state is State.DOUBT:
            return self._doubt(now)
        if not self.known:
            return self._drop_wrong_guess()
        self._marks = replace(self._marks, words_at=now)
        if self._over is not None:
            return self._finish_turn(now)
        return self._guess(now)

    # --- what the client asks -----------------------------------------------------------------------------

    def typed(self, text: str, now: float) -> list[Command]:
        """A whole turn as a line of text."""
        commands = [*self._abandon_reply(), StopHearing()]
        self._text, self._turn_guesses, self._marks = text, 0, Marks(now, now)
        return [*commands, *self._finish_with(text, now)]

    def interrupt(self, now: float) -> list[Command]:
        """Stop whatever is going on."""
        commands = [*self._abandon_reply(), StopHearing()]
        self._rest()
        return commands

    def heard_up_to(self, turn: int, seconds: float) -> list[Command]:
        if self.reply and self.reply.committed and turn == self.reply.ticket.turn and seconds >= 0:
            self.reply.heard_s = seconds
        return []

    # --- what the other processes tell --------------------------------------------------------------------

    def sentence(self, message: Sentence, now: float) -> list[Command]:
        reply = self.reply
        if reply is None or message.ticket != reply.ticket or reply.complete:
            return []
        if reply.first_token_at is None:
            reply.first_token_at = reply.asked_at + message.first_token_s
        reply.pieces[message.index] = message.text
        reply.complete = message.last
        if not reply.committed:
            return []
        self._patience(now)
        shown = BotSaid(reply.ticket.turn, message.index, message.text, message.last)
        return [shown, *(self._settle(now) if reply.played_out and reply.complete else [])]

    def spoken(self, message: Spoken, now: float) -> list[Command]:
        reply = self.reply
        if reply is None or message.ticket != reply.ticket or not reply.committed:
            return []
        reply.played[message.index] = (message.heard_s, message.total_s)
        seconds = sum(heard for heard, _ in reply.played.values())
        commands: list[Command] = [Played(reply.ticket.turn, seconds, message.last)]
        if not reply.timed and not reply.excuse:
            reply.timed = True
            commands.append(self._latency(reply, now))
        self._patience(now)
        reply.played_out = message.last
        return [*commands, *(self._settle(now) if reply.played_out and reply.complete else [])]

    def failed(self, message: Failed, now: float) -> list[Command]:
        """A stage gave up on this turn."""
        reply = self.reply
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
        reply = self.reply
        if reply is None or stage not in ("llm", "tts") or (stage == "llm" and reply.complete):
            return []
        return self.failed(Failed(reply.ticket, stage, f"The {stage} process stopped and is being restarted."), now)

    def wake(self, now: float) -> list[Command]:
        """To be called at `wake_at`: every wait ends."""
        if self.wake_at is None or now < self.wake_at:
            return []
        self.wake_at = None
        if self.state is State.PAUSE and self.known:
            if not self.automatic:
                return []  # the caller decides when
            self._over = True
            return self._finish_turn(now)
        if self.state is State.PAUSE:
            return self._fail("asr", f"No words came within {WORDS_WAIT_S:.0f} seconds.", False, now)
        if self.state is State.BOT:
            stage = "tts" if self.reply and self.reply.complete else "llm"
            return self._fail(stage, f"No answer came within {REPLY_WAIT_S:.0f} seconds.", stage == "llm", now)
        if self.state is State.DOUBT:
            if self._text or self._stopped < self._began:
                return self._yield(now)
            return self._resume(now)
        return []

    # --- the turn -----------------------------------------------------------------------------------------

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.call, self.turn, self.revision)

    def _hear(self, at: int, state: State) -> None:
        self.state, self._began, self._stopped = state, at, at - 1
        self._text, self._heard_to, self._over, self._turn_guesses = "", -1, None, 0

    @property
    def known(self) -> bool:
        """Are the words known up to the present pause?"""
        return self.state is not State.USER and self._stopped >= self._began and self._heard_to >= self._stopped + TAIL

    def _guess(self, now: float) -> list[Command]:
        if self.reply and same_words(self.reply.asked, self._text):
            return []
        commands = self._drop_wrong_guess()
        speech_s = (self._stopped - self._began) / 16_000
        allowed = self._turn_guesses < GUESSES and speech_s <= GUESS_SPEECH_S and not unfinished(self._text)
        if not (self.replies and self.automatic and words(self._text) and allowed):
            return commands
        self._turn_guesses += 1
        self.guesses += 1
        return [*commands, self._generate(self._text, now)]

    def _generate(self, text: str, now: float) -> Generate:
        self.revision += 1
        self.reply = Reply(self.ticket, text, now)
        return Generate(self.reply.ticket, self.memory.prompt(self.instructions, text))

    def _drop_wrong_guess(self) -> list[Command]:
        if self.reply is None or self.reply.committed or same_words(self.reply.asked, self._text):
            return []
        self.reply = None
        self.revision += 1
        return [Cancel(self.ticket)]

    def _without_guess(self, now: float) -> list[Command]:
        """The guess failed: forget it; the turn itself goes on and will ask again."""
        self.reply = None
        self.revision += 1
        return self._finish_turn(now) if self._over is not None and self.known else []

    def _finish_turn(self, now: float) -> list[Command]:
        if not words(self._text):
            commands = [*self._drop_wrong_guess(), StopHearing(), UserSaid(self.turn, "")]
            self._rest()
            return commands
        if self._over is False and unfinished(self._text):
            self._over = None  # only the silence can end this turn now
            return self._drop_wrong_guess()
        return [StopHearing(), *self._finish_with(self._text, now)]

    def _finish_with(self, text: str, now: float) -> list[Command]:
        """The user's turn is `text`: show it, remember it, let the answer out."""
        commands: list[Command] = [UserSaid(self.turn, text)]
        if not self.replies:
            self.memory.user(text)
            self.turn, self.revision = self.turn + 1, 0
            self._rest()
            return commands
        guessed = self.reply is not None and same_words(self.reply.asked, text)
        if not guessed:
            commands.append(self._generate(text, now))
        reply = self.reply
        assert reply is not None
        self.guesses_used += guessed
        reply.committed, reply.reused = True, guessed
        self.memory.user(text)
        self.state = State.BOT
        self._patience(now)
        commands.append(Commit(reply.ticket))
        commands += [
            BotSaid(reply.ticket.turn, i, reply.pieces[i], reply.complete and i == max(reply.pieces)) for i in sorted(reply.pieces)
        ]
        return commands

    # --- the answer ---------------------------------------------------------------------------------------

    def _patience(self, now: float) -> None:
        if self.state is State.BOT:
            audio = sum(total for _, total in self.reply.played.values()) if self.reply else 0.0
            self.wake_at = now + REPLY_WAIT_S + audio

    def _latency(self, reply: Reply, now: float) -> Latency:
        ended = self._marks.ended_at
        first_token = reply.first_token_at if reply.first_token_at is not None else now
        return Latency(reply.ticket.turn, self._marks.words_at - ended, first_token - ended, now - ended, reply.reused)

    def _doubt(self, now: float) -> list[Command]:
        """Somebody makes a sound over the answer: words, or nothing that matters?"""
        reply = self.reply
        silent = self.known
        harmless = not words(self._text) or is_backchannel(self._text) or (reply is not None and is_echo(self._text, reply.text()))
        if not harmless:
            return self._yield(now)
        return self._resume(now) if silent else []

    def _resume(self, now: float) -> list[Command]:
        assert self.reply is not None
        self.state = State.BOT
        self._patience(now)
        return [StopHearing(), Resume(self.reply.ticket)]

    def _yield(self, now: float) -> list[Command]:
        """The user took the turn: keep hearing the same utterance."""
        began, stopped, over = self._began, self._stopped, self._over
        heard_to, text = self._heard_to, self._text
        commands = self._abandon_reply()
        self.state = State.PAUSE if stopped >= began else State.USER
        self.wake_at = now + WORDS_WAIT_S if self.state is State.PAUSE else None
        self._began, self._stopped, self._over, self._heard_to, self._text = began, stopped, over, heard_to, text
        if self.known:
            self._marks = replace(self._marks, words_at=now)
            commands += self._finish_turn(now) if over is not None else self._guess(now)
        return commands

    def _abandon_reply(self) -> list[Command]:
        """Cancel whatever answer is in flight; memory keeps exactly what was heard of it."""
        reply, self.reply = self.reply, None
        if reply is None:
            return []
        self._turn_guesses = 0
        if not reply.committed:
            self.revision += 1
            return [Cancel(self.ticket)]
        heard = reply.heard()
        turn = self.turn
        self.turn, self.revision = turn + 1, 0
        if not reply.excuse:
            self.memory.assistant(heard)
        return [Cancel(self.ticket), Interrupted(turn, heard)]

    def _settle(self, now: float) -> list[Command]:
        """The answer has been played: the next turn may begin, or has begun under its last word."""
        reply, self.reply = self.reply, None
        if reply and not reply.excuse:
            self.memory.assistant(reply.text() if reply.played else "")
        self.turn, self.revision = self.turn + 1, 0
        if self.state is not State.DOUBT:
            self._rest()
            return []
        self.state = State.PAUSE if self._stopped >= self._began else State.USER
        self.wake_at = now + WORDS_WAIT_S if self.state is State.PAUSE else None
        if self.known:
            return self._finish_turn(now) if self._over is not None else self._guess(now)
        return []

    def _fail(self, stage: str, reason: str, excusable: bool, now: float) -> list[Command]:
        turn = self.turn
        commands: list[Command] = [c for c in self._abandon_reply() if not isinstance(c, Interrupted)]
        self.memory.drop_question()
        if not commands:
            commands = [Cancel(Ticket(self.call, turn + 1, 0))]
        self.turn, self.revision = turn + 1, 0
        commands += [StopHearing(), TurnFailed(turn, stage, reason)]
        self._rest()
        if excusable:
            reply = Reply(self.ticket, "", now, committed=True, pieces={0: APOLOGY}, complete=True, excuse=True)
            self.reply, self.state = reply, State.BOT
            self._patience(now)
            commands += [Sentence(reply.ticket, 0, APOLOGY, last=True), Commit(reply.ticket), BotSaid(self.turn, 0, APOLOGY, True)]
        return commands

    def _rest(self) -> None:
        self.state, self.wake_at, self.reply = State.IDLE, None, None
        self._text, self._heard_to, self._over, self._turn_guesses = "", -1, None, 0
