"""A tool: the model searches your notes before it answers.

    python examples/tool.py "When is my appointment with the dentist?"

The default model of 0.5 billion parameters uses tools badly; docs/models.md has better ones. The
package `whisperfusion` has to be importable. WHISPERFUSION_URL names another server.
"""

import asyncio
import json
import os
import sys

from whisperfusion.client import Closed, Failed, ReplyDone, ReplyText, ToolCall, connect

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000").replace("http", "ws", 1)
NOTES = ("dentist on monday at nine", "the wifi password is trustno1", "buy milk")
TEXT = {"type": "string", "description": "words to look for"}
SEARCH = {
    "name": "search_notes",
    "description": "Searches the user's notes.",
    "parameters": {"type": "object", "properties": {"text": TEXT}, "required": ["text"]},
}
OPTIONS = {"tools": [{"type": "function", "function": SEARCH}]}


def search_notes(text: str) -> list[str]:
    """The notes that share a word with `text`."""
    wanted = set(text.lower().replace("?", "").split())
    return [note for note in NOTES if wanted & set(note.split())]


async def main(question: str) -> None:
    async with connect(f"{URL}/transcription", options=OPTIONS) as call:
        await call.say(question)
        asked = False  # a reply that only calls a tool is not the answer yet
        async for event in call:
            match event:
                case ToolCall(id=id, arguments=arguments):
                    found = search_notes(json.loads(arguments).get("text", ""))
                    print(f"[search_notes {arguments} -> {found}]")
                    await call.send("result", id=id, output=json.dumps(found))
                    asked = True
                case ReplyText(text=text):
                    print(text, end=" ", flush=True)
                case ReplyDone() if asked:
                    asked = False
                    await call.send("respond")
                case ReplyDone():
                    return
                case Failed(message=reason) | Closed(reason=reason):
                    raise SystemExit(f"no answer: {reason}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
