"""Parts that both certificates share: fields, key usage, PEM and fingerprint."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

CLOCK_SKEW = timedelta(days=1)  # certificates begin earlier: the clock of a phone may be behind


def base_certificate(subject: Any, issuer: Any, key: Any, now: datetime, life: timedelta) -> Any:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now - CLOCK_SKEW + life)
    )


def key_usage(signs: bool) -> Any:
    from cryptography import x509

    others = "content_commitment key_encipherment data_encipherment key_agreement".split()
    others += ["encipher_only", "decipher_only"]
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        **dict.fromkeys(others, False),
    )


def pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def private_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def fingerprint(der: bytes) -> str:
    """SHA-256 as phones show it: pairs of hexadecimal digits."""
    return hashlib.sha256(der).digest().hex(" ").upper()
