"""Which speech counts in a call that listens to known speakers only (`known_speakers_only`).

Other people's turns are shown to the client as theirs. They are not replied to, are not in the
history, and do not interrupt a reply, which is not even paused for them: it goes on until the voice
is known, so a known speaker interrupts it as soon as an embedding can tell, after about a second.

Speech that is too short for that counts as that of the voice that was told last in this call; at
the beginning of a call, when none was, it does not count. An embedding that does not come in time
counts as too short, so no turn waits for it longer than `SPEAKER_WAIT_S`.
"""

from __future__ import annotations

from whisperfusion.turns.call import Call
from whisperfusion.turns.events import SpeakerIdentified
from whisperfusion.turns.reply import Reply

SPEAKER_WAIT_S = 1.5  # an embedding takes a tenth of that, where the machine keeps up


def noted(call: Call, event: SpeakerIdentified) -> bool:
    """Whose voice the present utterance has; False: nothing new was learned."""
    user = call.user
    if event.began != user.began or event.upto <= user.speaker_to:
        return False
    user.speaker_to = event.upto
    if event.known is not None:
        user.known_speaker = event.known
    return True


def counts(call: Call, too_late: bool = False) -> bool | None:
    """Does the user's speech count? None: that is not known yet. `too_late`: it has to be."""
    user = call.user
    if not call.options.known_speakers_only or user.known_speaker:
        return True
    if not (too_late or user.identified):
        return None
    return call.known_voice if user.known_speaker is None else False


def may_pause(call: Call, reply: Reply) -> bool:
    """May the playback of `reply` be paused for speech of which nothing is known yet? Before its
    first sound that interrupts nothing.
    """
    unknown = call.options.known_speakers_only and bool(reply.played)
    return call.options.interruptible and not unknown


def told(call: Call) -> None:
    """The present turn is over: its voice is the last one, if it could be told."""
    if call.user.known_speaker is not None:
        call.known_voice = call.user.known_speaker
