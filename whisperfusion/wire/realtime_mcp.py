"""OpenAI Realtime: items of MCP servers, and what a chat history says of them.

The id of a request for approval holds the id of the call that waits, so that the call can be named
to 6006, and found again in a history that is made from the items.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from whisperfusion.tools.client_servers import APPROVAL_PENDING, APPROVED, DECLINED, name_of
from whisperfusion.tools.data_marks import FAILED, marked
from whisperfusion.wire.asr_events import ListedTool

REQUEST, CALL = "mcpr_", "mcp_"  # how ids begin
LIST, MCP_CALL = "mcp_list_tools", "mcp_call"
APPROVAL_REQUEST, APPROVAL_RESPONSE = "mcp_approval_request", "mcp_approval_response"
TYPES = (LIST, MCP_CALL, APPROVAL_REQUEST, APPROVAL_RESPONSE)


def list_item(id: str, label: str, tools: Iterable[ListedTool] = ()) -> dict[str, Any]:
    listed = [
        {
            "name": one.own_name,
            "description": one.description,
            "input_schema": json.loads(one.parameters),
            "annotations": {"readOnlyHint": one.read_only},
        }
        for one in tools
    ]
    return _item(id, LIST, server_label=label, tools=listed)


def mcp_call_item(
    id: str,
    label: str,
    name: str,
    arguments: str,
    *,
    request: str | None = None,
    output: str | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """`request`: the id of the item that asked for approval."""
    failed = None if error is None else {"type": "tool_execution_error", "message": error}
    fields = {"server_label": label, "name": name, "arguments": arguments}
    outcome = {"approval_request_id": request, "output": output, "error": failed}
    return _item(id, MCP_CALL, **fields, **outcome)


def request_item(call: str, label: str, name: str, arguments: str) -> dict[str, Any]:
    fields = {"server_label": label, "name": name, "arguments": arguments}
    return _item(REQUEST + call, APPROVAL_REQUEST, **fields)


def call_of(request_id: str) -> str:
    """The call that an item asks approval of."""
    return request_id.removeprefix(REQUEST)


def _item(id: str, type: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "object": "realtime.item", "type": type, **fields}


# --- as a chat history --------------------------------------------------------------------------


def decisions(items: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """What the client decided, by the id of the request."""
    answers = (one for one in items if one["type"] == APPROVAL_RESPONSE)
    return {one["approval_request_id"]: one["approve"] for one in answers}


def mcp_lines(item: Mapping[str, Any], decided: Mapping[str, bool]) -> list[dict[str, str]]:
    """A call with its result; nothing of lists, of decisions and of calls without a result."""
    if item["type"] == APPROVAL_REQUEST:
        said = {None: APPROVAL_PENDING, True: APPROVED, False: DECLINED}
        return _lines(call_of(item["id"]), item, said[decided.get(item["id"])])
    if item["type"] != MCP_CALL:
        return []
    if item["error"] is not None:
        return _lines(item["id"], item, marked(FAILED + item["error"]["message"]))
    return [] if item["output"] is None else _lines(item["id"], item, marked(item["output"]))


def _lines(id: str, item: Mapping[str, Any], output: str) -> list[dict[str, str]]:
    name = name_of(item["server_label"], item["name"])
    call = {"id": id, "name": name, "arguments": item["arguments"]}
    result = {"id": id, "output": output}
    return [
        {"role": "call", "text": json.dumps(call, ensure_ascii=False)},
        {"role": "result", "text": json.dumps(result, ensure_ascii=False)},
    ]
