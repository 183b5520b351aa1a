"""Values that are checked beyond their own range: their form, and whether they fit each other."""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

from whisperfusion.errors import SettingsError
from whisperfusion.runtime.peers import networks
from whisperfusion.settings.chosen import Settings
from whisperfusion.settings.tools import check_tools
from whisperfusion.settings.values import engine_options, named_keys

HOST_NAME = re.compile(r"[a-z0-9.:-]+")
STORE = re.compile(r"sqlite:///.|(redis|rediss|unix)://.")
PATH = re.compile(r"[\w./~-]+")


def check_values(settings: Settings) -> None:
    """Raises SettingsError."""
    unknown = set(settings.sources) - {"packages", "hub"}
    if unknown or not settings.sources:
        raise SettingsError(
            f"MODEL_SOURCES={settings.model_sources!r} is not known; allowed: packages, hub, in "
            "the order to try"
        )
    if settings.otlp_endpoint and not settings.otlp_endpoint.startswith(("http://", "https://")):
        raise SettingsError(
            f"OTLP_ENDPOINT={settings.otlp_endpoint!r} is not a URL; allowed: that of a collector, "
            "such as http://localhost:4318"
        )
    _check_path("API_PREFIX", settings.api_prefix, "/v1")
    _check_path("ROOT_PATH", settings.root_path, "/voice")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError(
            "TLS_CERT and TLS_KEY belong together; set both, or neither and HTTPS=auto"
        )
    for name in settings.names if settings.secure else ():
        if not HOST_NAME.fullmatch(name):
            raise SettingsError(
                f"ALLOWED_HOSTS has {name!r}, which is not a host name or an address; separate "
                "several with commas"
            )
    try:
        networks(settings.trusted_proxies)
    except ValueError as error:
        raise SettingsError(
            f"TRUSTED_PROXIES={settings.trusted_proxies!r}: {error}; allowed: addresses and "
            "networks such as 10.0.0.5 or 172.16.0.0/12, separated by commas"
        ) from None
    if settings.agents_dir and not settings.agents.is_dir():
        raise SettingsError(
            f"AGENTS_DIR={settings.agents_dir!r} is not a folder; allowed: a folder with a .toml "
            "file for each agent, or nothing"
        )
    try:
        _ = settings.zone
    except (ValueError, OSError, ZoneInfoNotFoundError):  # a path, a folder, an unknown name
        raise SettingsError(
            f"TIME_ZONE={settings.time_zone!r} is not known; allowed: a name such as Europe/Berlin "
            "or UTC (on a system without a database of time zones: pip install tzdata), or nothing "
            "for the machine's"
        ) from None
    _check_store(settings.store_url)
    check_tools(settings)
    for text in (settings.asr_option, settings.llm_option, settings.tts_option):
        engine_options(text)
    named_keys(settings.llm_keys)


def _check_store(url: str) -> None:
    """The text of the error leaves the URL out, which may have a password."""
    if url not in ("", "none") and STORE.match(url) is None:
        raise SettingsError(
            "STORE_URL does not name a store; allowed: nothing (a file in MODEL_CACHE_DIR), "
            "sqlite:///folder/file, redis://host:6379/0, rediss://host:6379/0, "
            "unix:///folder/socket, none"
        )
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise SettingsError(
            "STORE_URL has a host or port that cannot be read; write it like "
            "redis://:PASSWORD@host:6379/0, with %40 for an @ in the password"
        ) from None


def _check_path(variable: str, prefix: str, example: str) -> None:
    wrong = not prefix.startswith("/") or prefix.endswith("/") or not PATH.fullmatch(prefix)
    if prefix and wrong:
        raise SettingsError(
            f"{variable}={prefix!r} is not a valid path; allowed: nothing, or a path such "
            f"as {example}"
        )
