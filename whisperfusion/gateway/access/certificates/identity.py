"""The TLS identity of the server: its certificate and key, made here or given by TLS_CERT.

It is made again when the addresses of this machine change or its end is near.
"""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.access.certificates.authority import RENEWAL, Authority, load_or_make
from whisperfusion.gateway.access.certificates.names import Names, certificate_names
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

LIFETIME = timedelta(days=396)  # browsers and iOS accept at most 397 or 398


def sign(authority: Authority, names: Names, now: datetime) -> tuple[x509.Certificate, Any]:
    """A server certificate for those of `names` that the authority may sign for, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    allowed: list[x509.GeneralName] = [
        x509.DNSName(name) for name in names.hosts if authority.allows(name)
    ]
    allowed += [x509.IPAddress(ip_address(one)) for one in names.addresses if authority.allows(one)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WhisperFusion")])
    builder = (
        base_certificate(subject, authority.certificate.subject, key.public_key(), now, LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(allowed), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    return builder.sign(authority.key, hashes.SHA256()), key


class TlsIdentity:
    """The server's TLS context, and the authority that signed its certificate (None: TLS_CERT)."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError."""
        self._settings = settings
        self.authority: Authority | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._names: Names | None = None
        self.ends = datetime.min.replace(tzinfo=timezone.utc)
        self._stamp = 0.0
        self.refresh()

    def refresh(self, now: datetime | None = None) -> bool:
        """Make or load the certificate when it is due; called every minute. True: it changed.
        Raises SettingsError.
        """
        if self._settings.tls_cert:
            return self._reload()
        return self._renew(now or datetime.now(timezone.utc))

    def _reload(self) -> bool:
        """Read the operator's certificate again when its file changes, as a renewal does."""
        from cryptography.x509 import load_pem_x509_certificate

        chain, key = (
            Path(name).expanduser() for name in (self._settings.tls_cert, self._settings.tls_key)
        )
        try:
            stamp = chain.stat().st_mtime
            if stamp == self._stamp:
                return False
            self.context.load_cert_chain(chain, key)
            self.ends = load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingsError(
                f"TLS_CERT={chain} and TLS_KEY={key} cannot be used ({error}); both are PEM files "
                "and belong together"
            ) from error
        self._stamp = stamp
        return True

    def _renew(self, now: datetime) -> bool:
        names = certificate_names(self._settings)
        if names == self._names and now < self.ends - RENEWAL:
            return False
        self.authority = load_or_make(self._settings, now)
        certificate, key = sign(self.authority, names, now)
        file = self._settings.https_dir / "server.pem"
        write(file, pem(certificate) + private_pem(key))
        self.context.load_cert_chain(file)
        self._names, self.ends = names, certificate.not_valid_after_utc
        return True
