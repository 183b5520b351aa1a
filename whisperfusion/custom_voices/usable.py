"""With which custom voices a client may have texts said.

Each belongs to the key that it was made with. One that was made without a key belongs to those who
know its id, which is random.
"""

from __future__ import annotations

from whisperfusion.custom_voices.store import voices_of
from whisperfusion.settings import Settings


class Usable:
    """Thread-safe. `clones` of its methods: whether the engine that speaks can clone voices."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._stored = settings, voices_of(settings)

    def of(self, clones: bool, key: int | None) -> tuple[str, ...]:
        """Ids, for the client with the key of this number (`Keys.number`)."""
        found = self._stored.all() if clones else ()
        if not found:
            return ()
        # the speaking process has no other use for the store of sessions
        from whisperfusion.sessions import owner_of

        owners = ("", owner_of(self._settings, key))
        return tuple(one.id for one in found if one.owner in owners)

    def all(self, clones: bool) -> tuple[str, ...]:
        """Ids, for the operator."""
        return tuple(one.id for one in self._stored.all()) if clones else ()
