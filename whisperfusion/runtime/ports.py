"""Whether the ports of the settings are free, checked before any model is loaded."""

from __future__ import annotations

from whisperfusion.errors import SettingsError
from whisperfusion.runtime import listener
from whisperfusion.settings import Settings


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
