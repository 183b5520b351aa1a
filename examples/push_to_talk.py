"""Push to talk: the turn ends when the button is released, whatever the silence says.

    arecord -q -t raw -f S16_LE -r 16000 -d 4 | python examples/push_to_talk.py

The standard input is the microphone (16 kHz mono, 16 bit), and its end is the release of the
button. The package `whisperfusion` has to be importable. WHISPERFUSION_URL names another server.
"""

import asyncio
import os
import sys
from typing import BinaryIO

from whisperfusion.client import (
    Call,
    Closed,
    Failed,
    ReplyDone,
    ReplyText,
    Transcript,
    UserTurn,
    connect,
)

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000").replace("http", "ws", 1)
FRAME = 3200  # bytes; 0.1 s


async def speak(call: Call, microphone: BinaryIO) -> None:
    while frame := await asyncio.to_thread(microphone.read, FRAME):
        await call.send_audio(frame)
    await call.send("commit")


async def main(microphone: BinaryIO) -> None:
    options = {"turn_detection": "manual"}
    async with connect(f"{URL}/transcription", options=options) as call:  # answers as text alone
        speaking = asyncio.create_task(speak(call, microphone))
        async for event in call:
            match event:
                case Transcript(text=text, final=False):
                    print("…", text)
                case UserTurn(text=text):
                    print("You:", text)
                case ReplyText(text=text):
                    print(text, end=" ", flush=True)
                case ReplyDone():
                    print()
                    break
                case Failed(message=reason) | Closed(reason=reason):
                    raise SystemExit(f"no answer: {reason}")
        await speaking


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.buffer))
