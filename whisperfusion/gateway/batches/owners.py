"""Whose files and batches a client may see: those that were made with its own key.

Without a key a client may see what was made without one: this machine all of it, another machine
what it knows the id of, as with sessions.
"""

from __future__ import annotations

from fastapi import Request

from whisperfusion.gateway.access.client_key import client_key
from whisperfusion.gateway.access.middleware import is_here
from whisperfusion.runtime.devices import Keys
from whisperfusion.sessions import owner_of
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import ApiError

NOT_LISTED = (
    "without a key only the machine that runs this server may list them; set SHARED_SECRET and "
    "send the key, or ask for one by its id"
)


class Owners:
    def __init__(self, settings: Settings) -> None:
        self._settings, self._keys = settings, Keys(settings)

    def present(self) -> str:
        """The owner of what the present request makes; "" = none."""
        key = client_key()
        return owner_of(self._settings, self._keys.number([key])) if key else ""

    def listing(self, request: Request) -> str:
        """The same, of a client that asks for a list. Raises ApiError."""
        owner = self.present()
        if not owner and not is_here(request):
            raise ApiError(403, NOT_LISTED, code="key_needed")
        return owner
