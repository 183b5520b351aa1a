"""/audio/voices and /audio/voice_consents: voices that clients make of recordings, in OpenAI's form
and with consents in words.

With a key a client sees what was made with the same key. Without one, this machine sees everything;
other machines may make voices and speak with them by their ids.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request

from whisperfusion.custom_voices import (
    Consent,
    ConsentRecording,
    CustomVoice,
    Folder,
    Full,
    bodies,
    consents_of,
    voices_of,
)
from whisperfusion.custom_voices.checks import LEAST_CONSENT_S
from whisperfusion.errors import SettingsError
from whisperfusion.gateway import forms, openapi
from whisperfusion.gateway.access.middleware import is_here
from whisperfusion.gateway.leaving import while_there
from whisperfusion.gateway.rest.samples import Samples
from whisperfusion.gateway.rest.voice_names import VoiceNames
from whisperfusion.sessions import owner_of
from whisperfusion.settings import Settings
from whisperfusion.wire import custom_voices as wire
from whisperfusion.wire.openai_rest import ApiError

KEY_NEEDED = (
    "without a key only the machine that runs this server may see stored voices; set SHARED_SECRET "
    "and send the key"
)

ERRORS: dict[int | str, dict[str, Any]] = {
    **openapi.ERRORS,
    403: {**openapi.ERRORS[401], "description": "only this machine, or a client with a key, may"},
    409: {**openapi.ERRORS[401], "description": "no more can be stored; the message says why"},
}


def router(settings: Settings, samples: Samples, names: VoiceNames) -> APIRouter:
    routes = APIRouter()
    voices = Shelf(settings, names, voices_of(settings), "voice")
    consents = Shelf(settings, names, consents_of(settings), "voice consent")
    routes.include_router(_consents(samples, consents))

    @routes.get("/audio/voices")
    async def listed(request: Request) -> dict[str, Any]:
        """The voices that `audio/speech` and calls may ask for, the first is the default; then the
        client's own.
        """
        of_engine, clones = await names.of_engine(), await names.clones()
        built_in = [
            {"id": name, "name": name, "object": "voice", "language": "en"} for name in of_engine
        ]
        own = [bodies.voice(one, clones) for one in await voices.visible(request)]
        return {"object": "list", "voices": built_in + own}

    @routes.post("/audio/voices", openapi_extra=openapi.VOICE, responses=ERRORS)
    async def create(request: Request) -> dict[str, Any]:
        """A new voice of a recording, in which one person speaks who has consented."""
        wire.refuse_prompt(request.headers.get("content-type", ""))
        form = await forms.form(request, "audio_sample", "file")
        asked = wire.new_voice(form.fields)
        file = forms.needed(form.file, "audio_sample")
        await voices.check_room()
        consent = Consent(asked.by, int(time.time()), asked.words)
        if asked.recording:
            given = await consents.get(request, asked.recording, "consent")
            consent = Consent(given.name, given.created, "", given.id)
        sample = await while_there(request, samples.read(request, file, "audio_sample"))
        found = sample.quality
        made = CustomVoice(
            *voices.new(asked.name), consent, speech_s=found.speech, speakers=found.speakers
        )
        await voices.add(made, sample.wav)
        return bodies.voice(made, await names.clones())

    @routes.get("/audio/voices/{id}", responses=ERRORS)
    async def one(request: Request, id: str) -> dict[str, Any]:
        """One of the client's own."""
        return bodies.voice(await voices.get(request, id), await names.clones())

    @routes.delete("/audio/voices/{id}", responses=ERRORS)
    async def delete(request: Request, id: str) -> dict[str, Any]:
        """Delete it with its recording."""
        found = await voices.get(request, id)
        await voices.delete(found.id)
        return {"id": found.id, "object": "audio.voice.deleted", "deleted": True}

    return routes


def _consents(samples: Samples, consents: Shelf) -> APIRouter:
    routes = APIRouter()

    @routes.get("/audio/voice_consents", responses=ERRORS)
    async def listed(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: str = "",
    ) -> dict[str, Any]:
        """The client's recordings of consents, the oldest first."""
        return bodies.page(await consents.visible(request), limit, after)

    @routes.post("/audio/voice_consents", openapi_extra=openapi.CONSENT, responses=ERRORS)
    async def create(request: Request) -> dict[str, Any]:
        """A recording in which a person consents to a copy of their voice."""
        form = await forms.form(request, "recording", "file")
        name, language = wire.new_consent(form.fields)
        file = forms.needed(form.file, "recording")
        await consents.check_room()
        sample = await while_there(
            request, samples.read(request, file, "recording", LEAST_CONSENT_S)
        )
        made = ConsentRecording(*consents.new(name), language)
        await consents.add(made, sample.wav)
        return bodies.consent(made)

    @routes.get("/audio/voice_consents/{id}", responses=ERRORS)
    async def one(request: Request, id: str) -> dict[str, Any]:
        """One of them."""
        return bodies.consent(await consents.get(request, id))

    @routes.post("/audio/voice_consents/{id}", responses=ERRORS)
    async def rename(request: Request, id: str) -> dict[str, Any]:
        """Another label."""
        name = wire.new_name(await forms.small_body(request))
        found = await consents.get(request, id)
        return bodies.consent(await consents.rename(found.id, name))

    @routes.delete("/audio/voice_consents/{id}", responses=ERRORS)
    async def delete(request: Request, id: str) -> dict[str, Any]:
        """Delete it. Voices that were made with it stay, and keep who consented and when."""
        found = await consents.get(request, id)
        await consents.delete(found.id)
        return {"id": found.id, "object": "audio.voice_consent", "deleted": True}

    return routes


class Shelf:
    """One kind of what is stored, as one client may see it. Methods raise ApiError."""

    def __init__(
        self, settings: Settings, names: VoiceNames, folder: Folder[Any], what: str
    ) -> None:
        self._settings, self._names, self._folder, self._what = settings, names, folder, what

    def new(self, name: str) -> tuple[str, str, int, str]:
        """The first fields of a new entry."""
        return self._folder.new_id(), name, int(time.time()), self._owner()

    async def visible(self, request: Request) -> tuple[Any, ...]:
        """Nothing for a client on another machine without a key."""
        owner = self._owner()
        found: tuple[Any, ...] = ()
        if owner:
            found = await self._run(lambda: self._folder.of(owner))
        elif is_here(request):
            found = await self._run(self._folder.all)
        return found

    async def get(self, request: Request, id: str, param: str = "id") -> Any:
        owner = self._owner()
        if not owner and not is_here(request):
            raise ApiError(403, KEY_NEEDED, param=param, code="key_needed")
        found = await self._run(lambda: self._folder.get(id))
        if found is None or owner not in ("", found.owner):
            raise self._missing(id, param)
        return found

    async def check_room(self) -> None:
        owner = self._owner()
        await self._run(lambda: self._folder.check_room(owner))

    async def add(self, entry: Any, wav: bytes) -> None:
        await self._run(lambda: self._folder.add(entry, wav))

    async def rename(self, id: str, name: str) -> Any:
        found = await self._run(lambda: self._folder.rename(id, name))
        if found is None:  # it was deleted meanwhile
            raise self._missing(id, "id")
        return found

    def _missing(self, id: str, param: str) -> ApiError:
        message = f"no {self._what} {id[:80]!r} is stored for this key"
        return ApiError(404, message, param=param, code="not_found")

    async def delete(self, id: str) -> None:
        await self._run(lambda: self._folder.delete(id))

    async def _run(self, work: Any) -> Any:
        try:
            return await anyio.to_thread.run_sync(work)
        except Full as problem:
            raise ApiError(409, str(problem), code="limit_exceeded") from None
        except (OSError, SettingsError) as problem:
            message = f"the server cannot change its stored voices: {problem}"
            raise ApiError(500, message, code="server_error") from problem

    def _owner(self) -> str:
        number = self._names.key_number()
        return owner_of(self._settings, number)
