"""The client of a connection: its address behind proxies, and the host names that it may use for
us.

Any client can write headers, so `X-Forwarded-For` counts only from TRUSTED_PROXIES and from our own
gateway, which proves itself with a token that the processes of one start share: it is derived from
the key that `multiprocessing` passes to all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

GATEWAY_HEADER = "X-WhisperFusion-Gateway"  # the header with the gateway's token
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
LOOPBACK_NAMES = ("localhost", ".localhost")
IPV6_PREFIX = 64  # bits: a household has the whole network


@dataclass(frozen=True)
class Peer:
    """A client.

    `key` is the position of its key in SHARED_SECRET, None without one; `from_gateway`: the
    connection was made by this server's own gateway.
    """

    address: str
    key: int | None = None
    from_gateway: bool = False


@lru_cache(4096)
def parsed(text: str) -> Address | None:
    """An IP address, IPv4-mapped IPv6 ("::ffff:1.2.3.4") as IPv4. None: not an address."""
    try:
        address = ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def plain(text: str) -> str:
    """An address in canonical form."""
    return str(parsed(text) or text)


def network(text: str) -> str:
    """The unit that limits count: the address, or for IPv6 its network, since one client has any
    number of IPv6 addresses.
    """
    address = parsed(text)
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(ip_network((address, IPV6_PREFIX), strict=False))
    return str(address or text)


def is_local(text: str) -> bool:
    """Whether an address is a loopback address."""
    address = parsed(text)
    return address is not None and address.is_loopback


def from_this_machine(address: str, hosts: Sequence[str], forwarded: bool) -> bool:
    """Whether a request comes from a program of this machine that uses a loopback name.

    The name matters because a page can point its own name at 127.0.0.1 and make a browser here send
    requests. `forwarded`: the request has X-Forwarded-For, so a proxy sent it for another client.
    """
    return (
        not forwarded
        and is_local(address)
        and bool(hosts)
        and host_allowed(hosts, (), "localhost", False)
    )


@lru_cache
def networks(text: str) -> tuple[Network, ...]:
    """TRUSTED_PROXIES: addresses and networks, separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def trusted(text: str, proxies: Sequence[Network]) -> bool:
    address = parsed(text)
    return address is not None and any(address in one for one in proxies)


def client_address(
    peer: str, forwarded: Iterable[str], proxies: Sequence[Network], from_gateway: bool = False
) -> str:
    """The last address in X-Forwarded-For that is not a trusted proxy's, or the peer's.

    `forwarded`: all values of that header. Each proxy appends its own peer, so entries before the
    last untrusted address may be forged by the client.
    """
    seen = [plain(part.strip()) for value in forwarded for part in value.split(",") if part.strip()]
    address = plain(peer)
    believed = from_gateway or trusted(address, proxies)
    while believed and seen and parsed(seen[-1]) is not None:
        address = seen.pop()
        believed = trusted(address, proxies)
    return address


def host_allowed(
    hosts: Sequence[str], allowed: Sequence[str], here: str, any_address: bool
) -> bool:
    """Whether the Host headers of a request are allowed (protection against DNS rebinding).

    `allowed`: names, "*.example.org" or "*"; `here`: the HOST of the settings; `any_address`: IP
    addresses are allowed too, since they cannot be rebound. A request without Host is not a
    browser's.
    """
    listed = {name_of(name.rpartition("://")[2]) for name in (*allowed, here)}
    return "*" in listed or all(
        _allowed(name_of(host), listed, any_address) for host in hosts if host.strip()
    )


def _allowed(name: str, listed: set[str], any_address: bool) -> bool:
    if parsed(name) is not None:
        return any_address or is_local(name) or plain(name) in {plain(one) for one in listed}
    if name in listed or name == LOOPBACK_NAMES[0] or name.endswith(LOOPBACK_NAMES[1]):
        return True
    return any(one.startswith("*.") and name.endswith(one[1:]) for one in listed)


def name_of(host: str) -> str:
    """The name in a Host header, without its port; "?" if it cannot be parsed."""
    if parsed(host.strip()) is not None:
        return plain(host.strip())
    try:
        return (urlsplit(f"//{host.strip()}").hostname or "?").rstrip(".")
    except ValueError:
        return "?"


def gateway_token() -> str:
    """A secret of the processes of one start."""
    return hashlib.blake2b(
        bytes(multiprocessing.current_process().authkey), person=b"whisperfusion"
    ).hexdigest()


def is_gateway_token(value: str | None) -> bool:
    """Whether `value` of the header `GATEWAY_HEADER` is the right one."""
    return value is not None and hmac.compare_digest(
        value.encode("utf-8", "surrogatepass"), gateway_token().encode()
    )
