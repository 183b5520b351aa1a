"""The tool that hangs up, once the reply was played."""

from __future__ import annotations

from whisperfusion.messages import EndCall
from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin.arguments import NoArguments, check_of, schema_of
from whisperfusion.tools.running import BoundTool, Invocation

TOOL = ServerTool(
    "end_call",
    "Hang up. Only when the user says goodbye or asks to end the call.",
    schema_of(NoArguments),
    "end_call",
    acts=True,
    silent=True,
)


async def _run(invocation: Invocation) -> str:
    invocation.post(EndCall(invocation.ticket))
    return "The call ends after your next words. Say goodbye."


BOUND = BoundTool(TOOL, check_of(NoArguments), _run)
