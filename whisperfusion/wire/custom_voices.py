"""The requests and answers of OpenAI's custom voices and recordings of consents, and ours of
consents in words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from whisperfusion.wire.fields import FieldError, json_object, text_field
from whisperfusion.wire.limits import NAME_LENGTH
from whisperfusion.wire.openai_rest import ApiError

CONSENT_ID = re.compile(r"cons_\w+")
LONGEST_CONSENT = 2000  # characters
TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")  # BCP 47, as far as it is checked
CONSENT = (
    "the consent of the person who is heard is missing: send it as the form field 'consent', in "
    "their words together with their name in 'consent_by', or as the id of a recording of it (POST "
    "audio/voice_consents)"
)
PROMPT = (
    "voices are made of recordings here, not of descriptions: send multipart/form-data with name, "
    "audio_sample and consent"
)


@dataclass(frozen=True)
class NewVoice:
    """The consent is `words` of `by`, or the recording with that id."""

    name: str
    words: str
    by: str
    recording: str


def new_voice(given: Sequence[tuple[str, str]]) -> NewVoice:
    """Raises ApiError."""
    fields = dict(given)
    if fields.get("type", "audio_sample") != "audio_sample":
        raise ApiError(400, PROMPT, param="type", code="unsupported_value")
    name = _name(fields, "name")
    consent = _text(fields, "consent", LONGEST_CONSENT)
    if not consent:
        raise ApiError(400, CONSENT, param="consent", code="missing_required_parameter")
    if CONSENT_ID.fullmatch(consent):
        return NewVoice(name, "", "", consent)
    by = _text(fields, "consent_by", NAME_LENGTH)
    if not by:
        raise ApiError(400, CONSENT, param="consent_by", code="missing_required_parameter")
    return NewVoice(name, consent, by, "")


def refuse_prompt(content_type: str) -> None:
    """OpenAI's voices of descriptions come as JSON. Raises ApiError."""
    if content_type.startswith("application/json"):
        raise ApiError(400, PROMPT, param="type", code="unsupported_value")


def new_consent(given: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Its label and its language. Raises ApiError."""
    fields = dict(given)
    language = _text(fields, "language", NAME_LENGTH)
    if not TAG.fullmatch(language):
        raise ApiError(
            400,
            f"language is {language[:40]!r}; send the tag of what is said, such as en-US",
            param="language",
            code="unsupported_value" if language else "missing_required_parameter",
        )
    return _name(fields, "name"), language


def new_name(body: bytes) -> str:
    """Of a JSON body. Raises ApiError."""
    try:
        values = json_object(body.decode("utf-8", "replace"))
        return _name({"name": text_field(values, "name", "", NAME_LENGTH)}, "name")
    except FieldError as problem:
        raise ApiError(400, str(problem), param="name") from None


def _name(fields: dict[str, str], field: str) -> str:
    name = _text(fields, field, NAME_LENGTH)
    if not name:
        raise ApiError(400, f"{field} is missing", param=field, code="missing_required_parameter")
    return name


def _text(fields: dict[str, str], field: str, most: int) -> str:
    """On one line, of printable characters."""
    text = " ".join(fields.get(field, "").split())
    if len(text) > most or not text.isprintable():
        raise ApiError(400, f"{field} must be at most {most} printable characters", param=field)
    return text
