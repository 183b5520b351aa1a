"""The settings: one frozen object, built once and handed to every process.

Its fields are what can be set (`fields.py`); its properties are what follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from whisperfusion.paths import EXAMPLE_AGENTS
from whisperfusion.runtime.peers import Network, networks
from whisperfusion.settings.fields import Fields
from whisperfusion.settings.values import named_keys, passwords_of, unquoted
from whisperfusion.settings.voices import (
    VoiceEntry,
    default_entry,
    settings_of_voice,
    voice_entries,
)


@dataclass(frozen=True)
class Settings(Fields):
    @property
    def zone(self) -> tzinfo | None:
        """The time zone of TIME_ZONE; None = the machine's."""
        return ZoneInfo(self.time_zone) if self.time_zone else None

    @property
    def agents(self) -> Path:
        """The folder of AGENTS_DIR."""
        folder = Path(self.agents_dir or "agents").expanduser()
        return folder if self.agents_dir or folder.is_dir() else EXAMPLE_AGENTS

    @property
    def cache(self) -> Path:
        return Path(self.model_cache_dir).expanduser()

    @property
    def engines(self) -> Path:
        return Path(self.engines_dir).expanduser()

    @property
    def traces(self) -> Path:
        return Path(self.trace_dir).expanduser()

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.model_sources.split(",") if part.strip())

    @property
    def state_dir(self) -> Path:
        """What the server itself keeps, such as sessions; in the volume of the models, too."""
        return self.cache / "state"

    @property
    def batches_dir(self) -> Path:
        """Files and batches of clients: beside the sessions where these are a file."""
        file = self.store_url.removeprefix("sqlite://")
        folder = Path(file).expanduser().parent if file != self.store_url else self.state_dir
        return folder / "batches"

    @property
    def secure(self) -> bool:
        """Whether HTTP_PORT speaks TLS.

        Then other machines need a key: a shared one, or their own from pairing.
        """
        return self.https == "auto" or bool(self.tls_cert)

    @property
    def https_dir(self) -> Path:
        """The authority, its certificate and the paired devices.

        In the volume of the models, so that a container keeps it.
        """
        return self.cache / "https"

    @property
    def names(self) -> tuple[str, ...]:
        """Names and addresses of this server that it cannot find out by itself, such as those of
        a container's host.
        """
        return tuple(name.lower() for name in self.hosts if "*" not in name)

    @property
    def voices(self) -> tuple[VoiceEntry, ...]:
        """The list of TTS_VOICE; empty where that is one name."""
        return voice_entries(self.tts_voice)

    @property
    def default_voice(self) -> str:
        """Its name; "" = the engine's first."""
        return self.with_default_voice.tts_voice

    @property
    def with_default_voice(self) -> Settings:
        """As if the default voice of TTS_VOICE were the only one."""
        if not self.voices:
            return self
        return settings_of_voice(self, default_entry(self.tts_voice, self.tts_engine))

    @property
    def key(self) -> str:
        """The one that this project's own clients send; "" = none is asked for."""
        return self.keys[0] if self.keys else ""

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(unquoted(part) for part in self.shared_secret.split(",") if unquoted(part))

    @property
    def server_keys(self) -> tuple[str, ...]:
        """The keys of the servers that are asked: by engines, by tools, and for sessions."""
        named = [spec.name for spec in fields(self) if spec.name.endswith("_api_key")]
        found = [getattr(self, name) for name in ("asr_key", "llm_key", "tts_key", *named)]
        more = (*named_keys(self.llm_keys).values(), *passwords_of(self.store_url))
        return tuple(filter(None, (*found, *more)))

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.allowed_hosts.split(",") if part.strip())

    @property
    def proxies(self) -> tuple[Network, ...]:
        return networks(self.trusted_proxies)

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.cors_origins.split(",") if part.strip())
