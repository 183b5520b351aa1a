"""Writes docs/turns.md from the table of states: python docs/states.py > docs/turns.md"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from whisperfusion.turns.states import ALWAYS, TABLE, Condition, Row, State, Trigger

WAITS_FOR = {
    State.IDLE: "nothing",
    State.USER_SPEAKING: "the end of the user's speech",
    State.USER_PAUSED: "more speech, or enough silence",
    State.AWAITING_TRANSCRIPT: "the transcript of a turn that is over",
    State.REPLYING: "the end of the reply, which is being made or heard",
    State.OVERLAP: "the transcript of speech over the reply, whose playback may be paused",
    State.ECHO_CHECK: "whether few words over the reply come back with its sound, as an echo does",
    State.ECHO_CHECK_OVERLAP: "the transcript of speech, while such words are deferred",
}
INTRODUCTION = """# Turn-taking: the states of a call

Written by `python docs/states.py > docs/turns.md` from the table in
`whisperfusion/turns/states.py`, in which the code looks its transitions up and whose rows the tests
walk. Do not edit this page.

A call is one `Conversation`: `receive(event, now)` returns commands, `wake_at` says when the event
`Wake` is due. *Events* are in code type; a *condition* (in plain words) is what an event led to
where its class alone does not decide. An event without a row is counted (`unexpected_events`) and
ignored.
"""


def name(trigger: Trigger) -> str:
    return trigger.value if isinstance(trigger, Condition) else f"`{trigger.__name__}`"


def short(trigger: Trigger) -> str:
    if isinstance(trigger, Condition):
        return trigger.name.lower().replace("_", " ")
    return trigger.__name__


def picture() -> list[str]:
    """Between two states one arrow, with all its events; what leads back to itself is left out."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    for state, rows in TABLE.items():
        arrows: dict[State, list[str]] = {}
        for trigger, row in rows.items():
            if row.to is not state:
                arrows.setdefault(row.to, []).append(short(trigger))
        lines += [
            f"    {state.value} --> {to.value}: {', '.join(names)}" for to, names in arrows.items()
        ]
    return [*lines, "```"]


def table(state: State, rows: dict[Trigger, Row]) -> list[str]:
    lines = [f"### {state.value}", f"Waits for {WAITS_FOR[state]}.", ""]
    lines += ["| event or condition | what happens | next state |", "| --- | --- | --- |"]
    for trigger, row in rows.items():
        to = "" if row.to is state else row.to.value
        lines.append(f"| {name(trigger)} | {row.does} | {to} |")
    return [*lines, ""]


def page() -> str:
    lines = [INTRODUCTION, *picture(), "", "## In every state"]
    lines += ["| event | what happens |", "| --- | --- |"]
    lines += [f"| {name(trigger)} | {does} |" for trigger, does in ALWAYS.items()]
    lines += ["", "## In each state"]
    for state, rows in TABLE.items():
        lines += table(state, rows)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
