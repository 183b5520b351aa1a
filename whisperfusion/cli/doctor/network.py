"""Ports and HTTPS: whether the server can listen, and whether phones can connect."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.errors import SettingsError
from whisperfusion.gateway.access.certificates import authority
from whisperfusion.gateway.access.certificates.identity import TlsIdentity
from whisperfusion.gateway.access.certificates.names import reachable_name
from whisperfusion.gateway.access.certificates.x509 import fingerprint
from whisperfusion.runtime import listener
from whisperfusion.runtime.devices import Devices
from whisperfusion.runtime.listener import url_host
from whisperfusion.settings import Settings, is_loopback


def check_ports(settings: Settings) -> Iterator[Finding]:
    for name in ("asr_port", "tts_port", "http_port"):
        port = getattr(settings, name)
        yield (
            check_port(settings.host, port, name.upper())
            if port
            else good(f"{name.upper()}: any free port")
        )


def check_port(host: str, port: int, variable: str) -> Finding:
    """Whether a server could listen there now; tried by doing it."""
    try:
        with listener.bind(host, port) as probe:
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Finding(
                "bad",
                f"port {port} is in use by {owner_of(port)}",
                f"stop it, or choose another port with {variable}",
            )
        where = f"{listener.url_host(host)}:{port}"
        return Finding(
            "bad",
            f"cannot listen on {where} ({listener.os_reason(error)})",
            f"choose another HOST or {variable}",
        )
    return good(f"port {port} is free")


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """The program that listens on `port`, as far as this user may see."""
    inodes = set()
    for table in (proc / "net/tcp", proc / "net/tcp6"):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            columns = line.split()
            # 0A = listening
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    for handle in proc.glob("[0-9]*/fd/*") if inodes else ():
        try:
            if os.readlink(handle) in inodes:
                process = handle.parent.parent
                command = (
                    (process / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                    .strip()
                )
                return f"process {process.name} ({command[:80]})"
        except OSError:  # another user's process, or one that has just ended
            continue
    return "another program"


def check_https(settings: Settings) -> Iterator[Finding]:
    """Whether other devices can use the microphone, and what they have to trust.

    No certificate is made: the server does that when it starts.
    """
    local = is_loopback(settings.host)
    if not settings.secure:
        yield _without_https(settings.host, local)
        return
    try:
        yield good(_certificate(settings))
    except SettingsError as error:
        yield Finding("bad", str(error), "correct TLS_CERT and TLS_KEY, or remove the folder")
        return
    devices = settings.https_dir / "devices.json"
    yield good(f"{len(Devices(settings.https_dir))} devices are paired ({devices})")
    if local:
        text = f"HOST={settings.host}: only this machine can reach the https server"
        yield Finding("note", text, "set HOST=0.0.0.0")
    else:
        name = url_host(reachable_name(settings))
        yield good(f"other machines open https://{name}:{settings.http_port}")


def _without_https(host: str, local: bool) -> Finding:
    if local:
        return good(
            "off: browsers on this machine can use the microphone; HTTPS=auto and HOST=0.0.0.0 "
            "let phones connect"
        )
    return Finding(
        "note",
        f"HOST={host} without https: browsers on other machines allow no microphone",
        "set HTTPS=auto, or put a proxy with a certificate in front (deploy/)",
    )


def _certificate(settings: Settings) -> str:
    """Raises SettingsError."""
    if settings.tls_cert:
        ends = TlsIdentity(settings).ends
        return f"{settings.tls_cert} is valid until {ends:%Y-%m-%d}"
    kept = authority.load(settings.https_dir)
    if kept is None:
        return f"the certificate authority will be made in {settings.https_dir} at the first start"
    until = kept.certificate.not_valid_after_utc
    return f"{kept.name}, until {until:%Y-%m-%d}, SHA-256 {fingerprint(kept.der)}"
