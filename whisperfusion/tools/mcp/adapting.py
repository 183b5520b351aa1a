"""A tool as an MCP server describes it, as one of this server's: named, bounded, with its rules.

What a server sends is not trusted: names become names that engines take, descriptions are cut,
schemas are checked before an engine compiles them, and of very many tools only the first are used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whisperfusion.tools import ServerTool
from whisperfusion.tools.client_servers import name_of
from whisperfusion.tools.mcp.configuration import Server, ToolRules
from whisperfusion.tools.results import cleaned
from whisperfusion.tools.running import BoundTool, Invocation, ReportedError, ToolError
from whisperfusion.wire.fields import FieldError
from whisperfusion.wire.tool_schema import check_tool

if TYPE_CHECKING:
    from mcp_types import CallToolResult, Tool

LONGEST_DEFINITION = 8000  # of one
LONGEST_DESCRIPTION = 600
# keywords that explain a schema to people, and only cost tokens
FOR_PEOPLE = frozenset({"title", "examples", "$schema", "$id", "$comment", "default"})
PATTERNS = frozenset({"pattern", "patternProperties"})
BY_NAME = ("properties", "$defs", "definitions")  # keywords with schemas by name
VALUES = ("enum", "const")
DEPTH = 40


@dataclass(frozen=True)
class Most:
    """Of one server: tools, and characters of their definitions together."""

    tools: int = 64
    definitions: int = 60_000


MOST = Most()
NO_RULES = ToolRules.model_validate({})
Call = Callable[[str, dict[str, Any], float, bool], Awaitable["CallToolResult"]]
log = logging.getLogger("tools")


def adapted(
    label: str, server: Server, tools: Sequence[Tool], call: Call, most: Most = MOST
) -> tuple[BoundTool, ...]:
    """Those of `tools` that may be used and fit; `call` asks the server for one."""
    found: dict[str, BoundTool] = {}
    left_out: list[str] = []
    size = 0
    for tool in tools:
        rules = server.tool.get(tool.name, NO_RULES)
        if not server.allows(tool.name) or _permission(server, rules, tool) == "never":
            continue
        bound = _bound(label, server, rules, tool, call)
        length = len(json.dumps(bound.tool.function.definition)) if bound is not None else 0
        full = len(found) >= most.tools or size + length > most.definitions
        if bound is None or full or bound.tool.name in found:
            left_out.append(tool.name[:40])
            continue
        size += length
        found[bound.tool.name] = bound
    if left_out:
        log.warning(
            "of the MCP server %s %d tools are left out (%s%s): too many, too large, or not to be "
            "read. Name those to use in its tools = [...]",
            label,
            len(left_out),
            ", ".join(left_out[:5]),
            ", …" * (len(left_out) > 5),
        )
    return tuple(found.values())


def _bound(
    label: str, server: Server, rules: ToolRules, tool: Tool, call: Call
) -> BoundTool | None:
    """None: an engine could not take it."""
    described = rules.description or cleaned(tool.description or tool.title or tool.name)
    limit_s = rules.time_limit_s or server.time_limit_s
    reads = _only_reads(rules, tool)
    described_tool = ServerTool(
        name_of(label, tool.name),
        described[:LONGEST_DESCRIPTION],
        slim(tool.input_schema),
        label,
        acts=not reads,
        trusted=server.trusted,
        follows=bool(rules.after_untrusted),
        chains=server.chains and reads,
        asks=_permission(server, rules, tool) == "ask",
        question=rules.question,
        filler=True,
        time_limit_s=limit_s,
        output_limit=rules.output_limit or server.output_limit,
        own_name=tool.name,
    )
    definition = described_tool.function.definition
    try:
        if len(json.dumps(definition)) > LONGEST_DEFINITION:
            return None
        check_tool(definition)
    except (FieldError, ValueError, TypeError, RecursionError):
        return None

    async def run(invocation: Invocation) -> str:
        return text_of(await call(tool.name, dict(invocation.arguments), limit_s, reads))

    return BoundTool(described_tool, _check(described_tool.parameters), run)


def slim(schema: Any, without: frozenset[str] = FOR_PEOPLE, depth: int = 0) -> Any:
    """`schema` with short descriptions and without the keywords of `without`. `check_tool` bounds
    its depth.
    """
    if isinstance(schema, list):
        return [slim(one, without, depth + 1) for one in schema]
    if depth > DEPTH or not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in BY_NAME and isinstance(value, dict):
            kept[key] = {name: slim(one, without, depth + 1) for name, one in value.items()}
        elif key == "description" and isinstance(value, str):
            kept[key] = cleaned(value)[:LONGEST_DESCRIPTION]
        elif key not in without:
            kept[key] = value if key in VALUES else slim(value, without, depth + 1)
    return kept


def _only_reads(rules: ToolRules, tool: Tool) -> bool:
    if rules.acts is not None:
        return not rules.acts
    return bool(tool.annotations and tool.annotations.read_only_hint)


def _permission(server: Server, rules: ToolRules, tool: Tool) -> str:
    chosen = rules.permission or server.permission
    return chosen or ("auto" if _only_reads(rules, tool) else "ask")


def _check(schema: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # a hostile pattern could take for ever
    validator = Draft202012Validator(slim(schema, PATTERNS), registry=Registry())

    def check(arguments: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in arguments.items() if value is not None}
        given = _as_numbers(given, schema)
        error = next(iter(validator.iter_errors(given)), None)
        if error is not None:
            place = ".".join(map(str, error.absolute_path)) or "arguments"
            raise ToolError(f"wrong arguments: {place}: {error.message[:200]}")
        return given

    return check


def _as_numbers(given: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Small models write numbers and truth values as text."""
    properties = schema.get("properties") or {}
    return {name: _as_number(value, properties.get(name)) for name, value in given.items()}


def _as_number(value: Any, schema: Any) -> Any:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(value, str) or kind not in ("integer", "number", "boolean"):
        return value
    try:
        read = json.loads(value.strip().lower())
    except ValueError:
        return value
    return read if isinstance(read, (int, float)) else value


def text_of(result: CallToolResult) -> str:
    """The texts of a result. Raises ReportedError for one that tells of an error."""
    texts = [_text(block) for block in result.content]
    text = "\n".join(filter(None, texts))
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    if result.is_error:
        raise ReportedError(text or "it failed")
    return text or "It is done."


def _text(block: Any) -> str:
    if block.type == "text":
        return str(block.text)
    resource = getattr(block, "resource", None)
    text = getattr(resource, "text", None)
    if block.type == "resource" and isinstance(text, str):
        return text
    return f"({block.type}: not shown)"
