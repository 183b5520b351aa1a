"""The certificate authority of this machine (HTTPS=auto).

It is made once and kept, for phones have it installed. It is limited twice: it can sign no other
authority (path length 0), and browsers accept it for local names and private addresses only (name
constraints), so a stolen key cannot be used against other sites.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.access.certificates.names import parse_address, reachable_name
from whisperfusion.gateway.access.certificates.x509 import (
    base_certificate,
    key_usage,
    pem,
    private_pem,
)
from whisperfusion.runtime.private_files import write
from whisperfusion.settings import Settings

if TYPE_CHECKING:
    from cryptography import x509

LIFETIME = timedelta(days=3650)
RENEWAL = timedelta(days=30)  # before the end
PRIVATE = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "100.64.0.0/10",  # overlay networks such as Tailscale
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
LOCAL_NAMES = (
    "localhost",
    "local",
    "lan",
    "internal",
    "home.arpa",
    "fritz.box",
)  # and everything below them

log = logging.getLogger("https")


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: Any  # of its certificate

    @property
    def der(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.DER)

    @property
    def name(self) -> str:
        from cryptography.x509.oid import NameOID

        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def allows(self, name: str) -> bool:
        """Whether browsers accept its certificates for `name`, a host name or an address."""
        from cryptography import x509

        extensions = self.certificate.extensions
        limits = extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        limits = limits or []
        address = parse_address(name)
        if address is not None:
            networks = [
                ip_network(str(limit.value))
                for limit in limits
                if isinstance(limit, x509.IPAddress)
            ]
            return any(address in network for network in networks)
        return any(
            name == limit.value or name.endswith(f".{limit.value}")
            for limit in limits
            if isinstance(limit, x509.DNSName)
        )


def load_or_make(settings: Settings, now: datetime) -> Authority:
    """The stored authority, or a new one if there is none, if it expires soon, or if its name
    constraints exclude a name of the settings.

    Raises SettingsError where the folder cannot be written.
    """
    folder = settings.https_dir
    kept = load(folder)
    names = [reachable_name(settings), *settings.names]
    if (
        kept is not None
        and kept.certificate.not_valid_after_utc - RENEWAL > now
        and all(kept.allows(name) for name in names)
    ):
        return kept
    made = make(socket.gethostname().lower(), names, now)
    write(folder / "authority.key", private_pem(made.key))
    write(folder / "authority.crt", pem(made.certificate))
    log.info(
        "made the certificate authority %r in %s; each phone installs it once", made.name, folder
    )
    return made


def load(folder: Path) -> Authority | None:
    """The authority kept in `folder`. Raises SettingsError where its files cannot be read."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificate((folder / "authority.crt").read_bytes())
        key: Any = load_pem_private_key((folder / "authority.key").read_bytes(), None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the certificate authority in {folder} cannot be read ({error}); remove the folder: "
            "a new one is made, and phones install it again"
        ) from error
    # A process that was killed between the two writes leaves files that do not match.
    return Authority(certificate, key) if certificate.public_key() == key.public_key() else None


def make(host: str, names: Iterable[str], now: datetime) -> Authority:
    """A new authority, for local names, for `names` and private addresses."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"WhisperFusion on {host}"[:64])])
    hosts = dict.fromkeys(
        [*LOCAL_NAMES, host, *(name for name in names if parse_address(name) is None)]
    )
    networks = dict.fromkeys(
        [*PRIVATE, *(name for name in names if parse_address(name) is not None)]
    )
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in hosts]
    permitted += [x509.IPAddress(ip_network(network)) for network in networks]
    builder = (
        base_certificate(subject, subject, key.public_key(), now, LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)
