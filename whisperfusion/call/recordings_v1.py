"""Recordings of version 1, as version 2 would have written them.

Then an event was a method of an object and its arguments, what the shell had assigned to attributes
stood in lines of its own, and messages and commands had other names. Nothing is checked here: a
value of the wrong type is passed on, and the reader refuses it.
"""

from __future__ import annotations

from typing import Any

NAMES = {
    "Answering": "ReplyStarted",
    "AskScore": "RequestTurnDetection",
    "AskWords": "RequestTranscript",
    "BotCalled": "ReplyToolCall",
    "BotSaid": "ReplyText",
    "Called": "ToolCalled",
    "Heard": "PlayedText",
    "HeardYou": "TurnAccepted",
    "Hold": "Pause",
    "Interrupted": "ReplyInterrupted",
    "Played": "ReplyPlayed",
    "Prepare": "Prefill",
    "Spoken": "PlaybackProgress",
    "StartHearing": "StartTranscribing",
    "StopHearing": "StopTranscribing",
    "UserSaid": "UserTurnFinal",
}


FIELDS = {  # of a message or command
    ("Generate", "lines"): "history",
    ("PlaybackProgress", "heard_s"): "played_s",
    ("Prefill", "lines"): "history",
    ("ReplyInterrupted", "heard"): "played_text",
    ("Sentence", "said"): "spoken",
}
OPTIONS = {  # attribute -> option
    "answers": "automatic_replies",
    "automatic": "automatic_turns",
    "early_guesses": "early_replies",
    "partial_s": "interim_every_s",
}
METHODS = {  # method -> event
    "score": "EndOfTurnProbability",
    "words": "InterimTranscript",
    "commit": "CommitTurn",
    "opened": "CallOpened",
    "typed": "TextTyped",
    "interrupt": "InterruptReply",
    "respond": "CreateReply",
    "clear": "ClearInput",
    "remember": "HistoryReplaced",
    "result": "ToolResult",
    "heard_up_to": "PlaybackPosition",
    "stage_down": "StageDown",
    "wake": "Wake",
    "set": "OptionsChanged",
}
ARGUMENTS = {"probability": "p", "doubtful": "noise", "lines": "messages"}


def header(line: dict[str, Any]) -> dict[str, Any]:
    """The first line."""
    line = dict(line)
    fixed = {"replies": "replies", "filler": "filler", "patience_s": "max_silence_s"}
    fixed["scored"] = "turn_detector"
    if isinstance(line.get("set"), dict):
        found = {new: line.pop(old) for old, new in fixed.items() if old in line}
        line["options"] = options({**line.pop("set"), **found})
    return line


def options(values: dict[str, Any]) -> dict[str, Any]:
    changed = {OPTIONS.get(name, name): value for name, value in values.items()}
    if changed.get("silence_s") == -1:
        changed["silence_s"] = None
    for name, unset in (("max_tokens", 0), ("language", ""), ("filler", "")):
        if changed.get(name) == unset:
            changed[name] = None
    return changed


def line(line: dict[str, Any]) -> dict[str, Any]:
    """Any other line."""
    line = dict(line)
    do, arguments = line.pop("do", None), line.pop("with", {})
    if do == "end":
        line["end"] = True
    elif do != "windows" and isinstance(do, str):
        line["event"] = _event(do, arguments)
    if isinstance(line.get("out"), list):
        line["out"] = [renamed(command) for command in line["out"]]
    return line


def _event(do: str, arguments: Any) -> Any:
    if not isinstance(arguments, dict):
        return [METHODS.get(do, do), arguments]
    if do == "message":
        return renamed(arguments.get("message"))
    if do == "set":
        return [METHODS[do], options(arguments)]
    if do == "respond" and isinstance(arguments.get("changes"), dict):
        arguments = {**arguments, **arguments["changes"]}
        del arguments["changes"]
    return [METHODS.get(do, do), {ARGUMENTS.get(k, k): value for k, value in arguments.items()}]


def renamed(value: Any) -> Any:
    """A [name, fields] of a message or command with its present names."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        return value
    name, values = NAMES.get(value[0], value[0]), value[1]
    if isinstance(values, dict):
        values = {FIELDS.get((name, field), field): one for field, one in values.items()}
    return [name, values]
