"""Who reaches this server: what may listen on a network, and under which names it is called."""

from __future__ import annotations

from collections.abc import Sequence

from whisperfusion.errors import SettingsError
from whisperfusion.runtime.peers import host_allowed, is_local
from whisperfusion.settings.chosen import Settings


def check_access(settings: Settings) -> None:
    """Refuses a server that would listen on a network without any protection.

    Raises SettingsError.
    """
    if not (settings.keys or settings.allow_open or settings.secure or is_loopback(settings.host)):
        raise SettingsError(
            f"HOST={settings.host} opens this server to every machine in its network; set "
            "HTTPS=auto (devices are "
            "paired) or SHARED_SECRET, or ALLOW_OPEN=true if that is intended"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    return host == "localhost" or is_local(host)


def may_call(settings: Settings, hosts: Sequence[str]) -> bool:
    """Whether a request with these Host headers may be answered.

    A key keeps strange pages out as well as a name does.
    """
    if (settings.keys or settings.secure) and not settings.hosts:
        return True
    return host_allowed(
        hosts, settings.hosts, settings.host, settings.allow_open or settings.secure
    )
