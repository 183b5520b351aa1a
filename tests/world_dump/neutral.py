"""Commands of the core in words that no version of the code owns, so that versions can be compared.

When a class or a field of the code gets another name, one line is added to `NAMES` or `RENAMED`;
what stands there already stays, for older versions. A field or a command that these tables do not
have is an error: nothing is left out by mistake.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

Neutral = tuple[Any, ...]  # (name, value of each field in the order of `COMMANDS`)

COMMANDS = {  # neutral name -> its fields
    "generate": "ticket lines brief tools max_tokens chain server_tools timers trace language "
    "switched approved",
    "prefill": "ticket lines tools chain server_tools",
    "commit": "ticket filler filler_in_s language",
    "pause": "ticket",
    "resume": "ticket",
    "cancel": "ticket",
    "sentence": "ticket index text last first_token_s cut said afresh model language",
    "start_utterance": "at",
    "end_utterance": "",
    "ask_transcript": "urgent",
    "ask_end_of_turn": "stopped_at",
    "turn_over": "turn",
    "thinking": "turn",
    "user_turn": "turn text",
    "answering": "turn id",
    "reply_text": "turn index text last cut afresh announced",
    "tool_call": "turn id name arguments",
    "played": "turn seconds last",
    "interrupted": "turn played_text",
    "played_text": "turn text",
    "turn_failed": "turn stage reason",
    "latency": "turn stopped_s words_s decided_s first_token_s first_clause_s first_sound_s reused "
    "model",
    "speech_started": "at",
    "speech_stopped": "at",
}

NAMES = {  # class -> neutral name
    "Generate": "generate",
    "Prepare": "prefill",
    "Commit": "commit",
    "Hold": "pause",
    "Resume": "resume",
    "Cancel": "cancel",
    "Sentence": "sentence",
    "StartHearing": "start_utterance",
    "StopHearing": "end_utterance",
    "AskWords": "ask_transcript",
    "AskScore": "ask_end_of_turn",
    "HeardYou": "turn_over",
    "Thinking": "thinking",
    "UserSaid": "user_turn",
    "Answering": "answering",
    "BotSaid": "reply_text",
    "BotCalled": "tool_call",
    "Played": "played",
    "Interrupted": "interrupted",
    "Heard": "played_text",
    "TurnFailed": "turn_failed",
    "Latency": "latency",
    "SpeechStarted": "speech_started",
    "SpeechStopped": "speech_stopped",
    # in the package `whisperfusion`
    "Prefill": "prefill",
    "Pause": "pause",
    "StartTranscribing": "start_utterance",
    "StopTranscribing": "end_utterance",
    "RequestTranscript": "ask_transcript",
    "RequestTurnDetection": "ask_end_of_turn",
    "TurnAccepted": "turn_over",
    "UserTurnFinal": "user_turn",
    "ReplyStarted": "answering",
    "ReplyText": "reply_text",
    "ReplyToolCall": "tool_call",
    "ReplyPlayed": "played",
    "ReplyInterrupted": "interrupted",
    "PlayedText": "played_text",
}

RENAMED = {  # (neutral name of the command, field of a class) -> the field's name in `COMMANDS`
    ("generate", "history"): "lines",
    ("prefill", "history"): "lines",
    ("sentence", "spoken"): "said",
    ("interrupted", "heard"): "played_text",
}


# (neutral name, field) -> how versions without None said "as the server has it", or "none"
UNSET = {("generate", "max_tokens"): 0, ("commit", "filler"): ""}


# (neutral name, field) that older versions lack -> the value that they meant
ADDED = {
    ("generate", "chain"): "",
    ("generate", "server_tools"): (),
    ("generate", "timers"): (),
    ("generate", "trace"): ("", ""),
    ("generate", "language"): "",
    ("generate", "switched"): False,
    ("commit", "language"): "",
    ("sentence", "language"): "",
    ("generate", "approved"): "",
    ("prefill", "chain"): "",
    ("prefill", "server_tools"): (),
    ("sentence", "model"): "",
    ("latency", "model"): "",
    ("reply_text", "announced"): False,
}


def neutral(command: Any) -> Neutral:
    """Raises KeyError for a class, ValueError for fields that the tables lack."""
    name = NAMES[type(command).__name__]
    values = {field: value for (of, field), value in ADDED.items() if of == name}
    values |= {
        RENAMED.get((name, one.name), one.name): getattr(command, one.name)
        for one in dataclasses.fields(command)
    }
    wanted = COMMANDS[name].split()
    if set(values) != set(wanted):
        raise ValueError(
            f"{type(command).__name__} has {', '.join(values)}; the table has {', '.join(wanted)}"
        )
    values = {
        field: UNSET.get((name, field)) if value is None else value
        for field, value in values.items()
    }
    return (name, *(plain(values[field]) for field in wanted))


def plain(value: Any) -> Any:
    """A value without classes. Seconds to the nanosecond: a sum may be made in another order."""
    if hasattr(value, "for_chat_completions"):  # tools, which were JSON as text once
        return json.dumps(value.for_chat_completions()) if value else ""
    if dataclasses.is_dataclass(value):
        return tuple(plain(getattr(value, one.name)) for one in dataclasses.fields(value))
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    if isinstance(value, float):
        return round(value, 9)
    return value
