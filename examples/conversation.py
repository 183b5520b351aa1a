"""A conversation in Python: typed lines, and answers as text and audio.

    python examples/conversation.py "What is the capital of France?" "And of Spain?"

Prints each answer while it is generated and writes the audio of all to conversation.wav. The
package `whisperfusion` has to be importable (`pip install .`, or run it in the checkout).
WHISPERFUSION_URL names another server, WHISPERFUSION_KEY its key if it has one.
"""

import asyncio
import os
import sys
import wave

from whisperfusion.client import Call, Closed, Failed, ReplyAudio, ReplyDone, ReplyText, connect

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000").replace("http", "ws", 1)
KEY = os.environ.get("WHISPERFUSION_KEY", "")
STYLE = {"instructions": "You answer in one short sentence.", "speed": 1.0}


async def answer(call: Call, sound: wave.Wave_write) -> None:
    """The answer to the line before. Other events of the call are ignored here."""
    async for event in call:
        match event:
            case ReplyText(text=text):
                print(text, end=" ", flush=True)
            case ReplyAudio(pcm=pcm):
                sound.writeframes(pcm)
            case ReplyDone():
                print()
                return
            case Failed(message=reason) | Closed(reason=reason):
                raise SystemExit(f"no answer: {reason}")


async def main(lines: list[str]) -> None:
    with wave.open("conversation.wav", "wb") as sound:
        sound.setparams((1, 2, 24_000, 0, "NONE", ""))
        async with connect(f"{URL}/transcription", f"{URL}/audio", key=KEY, options=STYLE) as call:
            for line in lines:
                print("You:", line)
                await call.say(line)
                await answer(call, sound)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
