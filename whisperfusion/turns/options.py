"""The options of one call: one frozen value, replaced as a whole by the event `OptionsChanged`."""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.tools import NO_TOOLS, Tools


@dataclass(frozen=True)
class Options:
    """How turns end and which of them are replied to.

    The last three are set by load shedding, the others by the client or the operator.
    """

    instructions: str = ""  # the system prompt
    tools: Tools = NO_TOOLS
    max_tokens: int | None = None  # of a reply, within the server's own limit
    server_tools: tuple[str, ...] = ()  # the server's own, by their names
    facts: tuple[str, ...] = ()  # that are known of the user from earlier calls
    chain: str = ""  # of language models; "" = the server's
    language: str | None = "en"  # of the user's speech; None = not known yet
    filler: str | None = None  # spoken when the reply is late
    replies: bool = True  # False: captions only
    automatic_turns: bool = True  # False: a turn ends only by `CommitTurn`
    automatic_replies: bool = True  # False: a turn is answered only by `CreateReply`
    interruptible: bool = True  # False: speech over a reply is the next turn
    known_speakers_only: bool = False  # what other people say is shown and does nothing
    turn_detector: bool = True  # there is an end-of-turn model
    eagerness: float = 0.5  # 0 (patient) to 1 (eager)
    silence_s: float | None = None  # ends every turn, whatever the transcript; None: turn detection
    max_silence_s: float = 2.6  # ends any turn
    # of the detector's probability: speech starts there, and stops a little below
    vad_threshold: float = 0.5
    prefix_padding: float = 0.3  # seconds of audio before the detected start that are transcribed
    interim_every_s: float = 0.3  # new audio between two interim transcripts
    early_replies: bool = True  # preemptive generation also while the user speaks
    brief: bool = False  # replies should be short
