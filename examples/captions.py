"""Live captions: the words of a recording while it is played.

    pip install websockets
    ffmpeg -i talk.mp3 -ac 1 -ar 16000 talk.wav  # 16 kHz mono, 16 bit
    python examples/captions.py talk.wav

Sends the file as a microphone would and prints interim transcripts, then each final one with its
times. The frames are those of docs/wire.md. WHISPERFUSION_URL names another server.
"""

import asyncio
import json
import os
import sys
import uuid
import wave

from websockets.asyncio.client import ClientConnection, connect

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000")
FRAME_S = 0.1


async def send(socket: ClientConnection, path: str) -> None:
    """The audio of the file, each frame when its last sample would have been spoken."""
    with wave.open(path) as file:
        while frame := file.readframes(int(file.getframerate() * FRAME_S)):
            await socket.send(frame)
            await asyncio.sleep(FRAME_S)
    await socket.send("END_OF_AUDIO")


async def main(path: str) -> None:
    async with connect(f"{URL.replace('http', 'ws', 1)}/transcription") as socket:
        handshake = {"uid": str(uuid.uuid4()), "events": True, "audio_format": "int16"}
        await socket.send(json.dumps({**handshake, "reply": False, "language": "en"}))
        sending = asyncio.create_task(send(socket, path))
        async for frame in socket:
            event = json.loads(frame)
            if event.get("type") != "caption" or not event["text"]:
                continue
            if event["final"]:
                print(f"{event['start']:7.2f} - {event['end']:6.2f}  {event['text']}")
            else:
                print(f"{'…':>16}  {event['text']}")
        await sending


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
