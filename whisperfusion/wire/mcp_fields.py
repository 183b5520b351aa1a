"""MCP servers that a client names for its call: the objects that OpenAI's APIs have as tools of the
type "mcp", in the field `mcp_servers` of 6006 and in a Realtime session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from whisperfusion.tools.client_servers import ClientServer, ToolFilter
from whisperfusion.wire.fields import FieldError, choice_field, flag_field, refuse, text_field
from whisperfusion.wire.limits import NAME_LENGTH

MOST_SERVERS = 4  # of one call
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
URL_LENGTH, HEADER_LENGTH, MOST_HEADERS, MOST_NAMES = 2000, 4000, 16, 64
HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
# they belong to HTTP itself, or to the protocol
RESERVED_HEADERS = frozenset(
    "accept accept-encoding connection content-encoding content-length content-type host "
    "last-event-id proxy-authorization te trailer transfer-encoding upgrade".split()
)
ELSEWHERE = ("connector_id", "tunnel_id")
ANSWERS = ("auto", "asked")


def mcp_servers_field(values: dict[str, Any]) -> tuple[ClientServer, ...]:
    """The field "mcp_servers". Raises FieldError, whose text has no value that may be a key."""
    given = values.get("mcp_servers")
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MOST_SERVERS:
        raise FieldError(
            f'field "mcp_servers" must be a list of at most {MOST_SERVERS} objects '
            '{"server_label", "server_url", ...}'
        )
    servers = tuple(map(server_of, given))
    labels = [one.label for one in servers]
    if len(set(labels)) < len(labels):
        raise FieldError(f"two MCP servers have the same server_label; given: {', '.join(labels)}")
    return servers


def server_of(given: Any) -> ClientServer:
    """Raises FieldError."""
    if not isinstance(given, dict):
        raise FieldError('an MCP server must be an object {"server_label", "server_url", ...}')
    label = given.get("server_label")
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise refuse("server_label", label, "1 to 40 letters, digits, _ and -, a letter first")
    for name in ELSEWHERE:
        if given.get(name) is not None:
            raise FieldError(
                f"the MCP server {label} has {name}, and OpenAI's connectors and tunnels are not "
                "to be had here; give server_url"
            )
    url = text_field(given, "server_url", "", URL_LENGTH)
    if url:
        host_of(url)
    headers = _headers(given)
    only = text_field(given, "only", "", NAME_LENGTH)
    if headers and not url:
        raise FieldError(
            f"the MCP server {label} has headers or authorization and no server_url; the "
            "operator's server has its own"
        )
    always, never = _approval(given.get("require_approval"))
    return ClientServer(
        label,
        url,
        headers,
        _filter(given.get("allowed_tools"), "allowed_tools") or ToolFilter(),
        always,
        never,
        choice_field(given, "answers", "auto", ANSWERS),
        only,
    )


def fields_of(server: ClientServer) -> dict[str, Any]:
    """The object that `server_of` reads, keys included: for 6006 alone."""
    shown: dict[str, Any] = {"server_label": server.label, "answers": server.answers}
    if server.url:
        shown["server_url"] = server.url
    if server.only:
        shown["only"] = server.only
    if server.headers:
        shown["headers"] = dict(server.headers)
    if server.allowed != ToolFilter():
        shown["allowed_tools"] = _filter_fields(server.allowed)
    rules = approval_of(server)
    return shown if rules is None else {**shown, "require_approval": rules}


def approval_of(server: ClientServer) -> Any:
    """The field `require_approval`; None: the client gave none."""
    rules = {"always": server.always, "never": server.never}
    given = {name: one for name, one in rules.items() if one is not None}
    if len(given) == 1 and ToolFilter() in given.values():
        return next(iter(given))
    return {name: _filter_fields(one) for name, one in given.items()} or None


def host_of(url: str) -> tuple[str, int]:
    """Host and port of an http or https URL, without its path, which may hold a key.

    Raises FieldError.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not url.isascii():
        raise FieldError("server_url is not a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise FieldError("server_url has a user or a password in it; give authorization instead")
    return host.lower(), port or (443 if parts.scheme == "https" else 80)


def check_hosts(servers: Iterable[ClientServer], allowed: str) -> None:
    """`allowed` is MCP_HOSTS: `host`, `host:port` or `*.domain`, separated by commas.

    Raises FieldError, which names the setting.
    """
    for server in servers:
        if server.url and not _is_allowed(*host_of(server.url), allowed):
            host, port = host_of(server.url)
            raise FieldError(
                f"the MCP server {server.label} is on {host}:{port}, which the operator of this "
                f"server has not allowed; MCP_HOSTS={host} allows it, and a server of tools.toml "
                "is named by its server_label alone"
            )


def _is_allowed(host: str, port: int, allowed: str) -> bool:
    for entry in filter(None, (one.strip().lower() for one in allowed.split(","))):
        name, _, number = entry.rpartition(":")
        if not number.isdigit() or entry.count(":") > 1 and not entry.startswith("["):
            name, number = entry, ""
        name = name.strip("[]")
        fits = host.endswith(name[1:]) if name.startswith("*.") else host == name
        if fits and number in ("", str(port)):
            return True
    return False


def _headers(given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    headers = given.get("headers") or {}
    if not isinstance(headers, dict) or len(headers) > MOST_HEADERS:
        raise FieldError(f"headers must be an object of at most {MOST_HEADERS} texts")
    found: dict[str, str] = {}
    token = given.get("authorization")
    if token is not None:
        headers = {**headers, "Authorization": f"Bearer {token}" if isinstance(token, str) else 0}
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            raise FieldError(
                f"the header {name[:40]!r} cannot be set; allowed: names of letters, digits and "
                f"-, but not {', '.join(sorted(RESERVED_HEADERS))}"
            )
        fits = isinstance(value, str) and len(value) <= HEADER_LENGTH
        if not fits or not HEADER_VALUE.fullmatch(value):
            raise FieldError(
                f"the header {name} must be text of at most {HEADER_LENGTH} printable ASCII "
                "characters"
            )
        found[name] = value
    return tuple(found.items())


def _filter(given: Any, where: str) -> ToolFilter | None:
    if given is None:
        return None
    values = {"tool_names": given} if isinstance(given, list) else given
    names: Any = values.get("tool_names") if isinstance(values, dict) else 0
    listed = isinstance(names, list) and len(names) <= MOST_NAMES
    if names is not None and not (
        listed and all(isinstance(one, str) and len(one) <= NAME_LENGTH for one in names)
    ):
        raise FieldError(
            f"{where} must be a list of at most {MOST_NAMES} names of tools, or an object "
            '{"tool_names", "read_only"}'
        )
    only = values.get("read_only")
    read_only = None if only is None else flag_field(values, "read_only", False)
    return ToolFilter(None if names is None else tuple(names), read_only)


def _filter_fields(one: ToolFilter) -> dict[str, Any]:
    named = {} if one.names is None else {"tool_names": list(one.names)}
    return named if one.read_only is None else {**named, "read_only": one.read_only}


def _approval(given: Any) -> tuple[ToolFilter | None, ToolFilter | None]:
    """Which tools always need approval, and which never do."""
    if given is None:
        return None, None
    if given == "always":
        return ToolFilter(), None
    if given == "never":
        return None, ToolFilter()
    if not isinstance(given, dict) or not {*given} & {"always", "never"}:
        raise FieldError(
            'require_approval must be "always", "never", or an object with one or both of them, '
            'each {"tool_names", "read_only"}'
        )
    return (
        _filter(given.get("always"), "require_approval.always"),
        _filter(given.get("never"), "require_approval.never"),
    )
