"""/install: a page that installs the certificate authority on a phone, and the two file formats
that phones accept.
"""

from __future__ import annotations

import plistlib
import uuid

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from whisperfusion.gateway.access.certificates.authority import Authority
from whisperfusion.gateway.access.certificates.x509 import fingerprint
from whisperfusion.gateway.openapi import NO_STORE
from whisperfusion.gateway.page import FILES, HEADERS
from whisperfusion.paths import WEB

PATHS = ("/install", "/authority.crt", "/authority.mobileconfig", "/authority.json")


def is_plain(path: str) -> bool:
    """Whether a path is served to other machines without TLS: it is needed before they trust
    the authority.
    """
    return path in PATHS or path.startswith(f"{FILES}/")


def router(authority: Authority | None) -> APIRouter:
    """The routes; none without a private authority."""
    routes = APIRouter(include_in_schema=False)
    if authority is None:
        return routes

    @routes.api_route("/install", methods=["GET", "HEAD"])
    async def install() -> FileResponse:
        return FileResponse(WEB / "install.html", headers=HEADERS)

    @routes.api_route("/authority.crt", methods=["GET", "HEAD"])
    async def certificate() -> Response:
        named = {"Content-Disposition": 'attachment; filename="whisperfusion.crt"'}
        return Response(
            authority.der, media_type="application/x-x509-ca-cert", headers={**NO_STORE, **named}
        )

    @routes.api_route("/authority.mobileconfig", methods=["GET", "HEAD"])
    async def profile() -> Response:
        named = {"Content-Disposition": 'attachment; filename="whisperfusion.mobileconfig"'}
        return Response(
            mobileconfig(authority),
            media_type="application/x-apple-aspen-config",
            headers={**NO_STORE, **named},
        )

    @routes.get("/authority.json")
    async def facts() -> JSONResponse:
        until = authority.certificate.not_valid_after_utc.date().isoformat()
        return JSONResponse(
            {"name": authority.name, "sha256": fingerprint(authority.der), "until": until},
            headers=NO_STORE,
        )

    return routes


def mobileconfig(authority: Authority) -> bytes:
    """A configuration profile for iOS and macOS.

    Its identifiers come from the certificate, so that it replaces itself.
    """

    def identity(what: str) -> dict[str, object]:
        made = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{what} {fingerprint(authority.der)}")).upper()
        return {
            "PayloadUUID": made,
            "PayloadIdentifier": f"whisperfusion.{what}.{made}",
            "PayloadVersion": 1,
        }

    root = {
        "PayloadType": "com.apple.security.root",
        "PayloadDisplayName": authority.name,
        "PayloadCertificateFileName": "whisperfusion.cer",
        "PayloadContent": authority.der,
        **identity("root"),
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadDisplayName": authority.name,
            "PayloadDescription": "Lets this device trust the WhisperFusion server of this name.",
            "PayloadRemovalDisallowed": False,
            "PayloadContent": [root],
            **identity("profile"),
        }
    )
