"""The spoken tool requests of tests/data/tool_requests, as bench/tool_requests.py judges them."""

from bench.tool_requests import OTHERS, TOOLS, requests, verdict

__all__ = ["OTHERS", "TOOLS", "requests", "verdict"]
