"""Whether the ports of the settings are free, checked before any model is loaded; free ones."""

from __future__ import annotations

import random
import socket

from whisperfusion.errors import SettingsError
from whisperfusion.runtime import listener
from whisperfusion.settings import Settings

# Below those that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere): one
# of these could be taken by any connection before its server listens. Ray has those from 30000.
FREE = range(12_000, 30_000)


def check_ports(settings: Settings) -> None:
    """Raises SettingsError that names the setting of a port that cannot be bound."""
    ports = [
        ("ASR_PORT", settings.host, settings.asr_port),
        ("TTS_PORT", settings.host, settings.tts_port),
        ("HTTP_PORT", settings.host, settings.http_port),
    ]
    if settings.wyoming_port:
        ports.append(("WYOMING_PORT", settings.wyoming_host, settings.wyoming_port))
    for variable, host, port in ports:
        try:
            listener.bind(host, port).close()
        except OSError as error:
            where = f"{listener.url_host(host)}:{port}"
            raise SettingsError(
                f"cannot listen on {where} ({listener.os_reason(error)}); end the program that "
                f"uses it, or choose another {variable}"
            ) from error


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nothing listens, for servers that are started at once."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(FREE, len(FREE)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            break
    return ports
