"""The voices that a client may ask for: those of the engine, and its own custom ones."""

from __future__ import annotations

from whisperfusion.custom_voices import Usable
from whisperfusion.gateway.access.client_key import client_key
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.messages import Stage
from whisperfusion.runtime.devices import Keys
from whisperfusion.settings import Settings


class VoiceNames:
    def __init__(self, settings: Settings, snapshot: StageSnapshot) -> None:
        self._snapshot, self._keys = snapshot, Keys(settings)
        self._custom = Usable(settings)

    async def all(self) -> tuple[str, ...]:
        """For the client whose request is served; empty while the speaking process starts."""
        stage = await self._stage()
        if stage is None or not stage.voices:
            return ()
        return (*stage.voices, *self._custom.of(stage.clones, self.key_number()))

    async def of_engine(self) -> tuple[str, ...]:
        return await voices_of(self._snapshot)

    async def clones(self) -> bool:
        """Whether the engine that speaks can clone voices."""
        stage = await self._stage()
        return stage is not None and stage.clones

    def key_number(self) -> int | None:
        """`Keys.number` of the key of the client; None = it has none."""
        key = client_key()
        return self._keys.number([key]) if key else None

    async def _stage(self) -> Stage | None:
        return (await self._snapshot()).get("tts")


async def voices_of(snapshot: StageSnapshot) -> tuple[str, ...]:
    """Those of the engine; empty while the speaking process starts."""
    stage = (await snapshot()).get("tts")
    return tuple(stage.voices) if stage else ()
