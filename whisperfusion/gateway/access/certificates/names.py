"""The names and addresses of this machine, for which it needs certificates."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from whisperfusion.settings import Settings

HOST = re.compile(r"[a-z0-9.-]+")


@dataclass(frozen=True)
class Names:
    """The subject names of a certificate: host names in lower case, canonical addresses."""

    hosts: tuple[str, ...]
    addresses: tuple[str, ...]


def parse_address(name: str) -> IPv4Address | IPv6Address | None:
    """None: `name` is a host name."""
    try:
        return ip_address(name)
    except ValueError:
        return None


def interface_addresses() -> list[str]:
    """The addresses of all interfaces, loopback first."""
    import ifaddr

    found = [
        ip.ip if ip.is_IPv4 else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips
    ]
    return list(
        dict.fromkeys(
            ["127.0.0.1", "::1", *(str(ip_address(str(one).partition("%")[0])) for one in found)]
        )
    )


def main_address() -> str:
    """The address of this machine in its network. Connecting a UDP socket sends no packet."""
    for family, remote in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((remote, 9))
                return str(probe.getsockname()[0])
        except OSError:  # no route, or no support for this family
            continue
    others = (
        one
        for one in interface_addresses()
        if not ip_address(one).is_loopback and not ip_address(one).is_link_local
    )
    return next(others, "127.0.0.1")


def reachable_name(settings: Settings) -> str:
    """The host in the address that other machines open: the first of ALLOWED_HOSTS, HOST where it
    is one address, or this machine's address.
    """
    if settings.names:
        return settings.names[0]
    return settings.host.lower() if settings.host not in ("", "0.0.0.0", "::") else main_address()


def certificate_names(settings: Settings) -> Names:
    """All names of this server: its host name, its addresses, ALLOWED_HOSTS and HOST."""
    host = socket.gethostname().lower()
    own = [host, f"{host.partition('.')[0]}.local"] if HOST.fullmatch(host) else []
    names = ["localhost", *own, *settings.names, reachable_name(settings)]
    hosts = [name for name in names if parse_address(name) is None]
    addresses = [str(address) for name in names if (address := parse_address(name)) is not None]
    return Names(
        tuple(dict.fromkeys(hosts)), tuple(dict.fromkeys([*interface_addresses(), *addresses]))
    )
