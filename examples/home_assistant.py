"""Home Assistant: WhisperFusion as speech to text and text to speech.

    WYOMING_PORT=10300 python main.py  # add WYOMING_HOST=0.0.0.0 for another machine

In Home Assistant: Settings, Devices & services, Add integration, Wyoming Protocol, with the
server's address and port 10300. Then Settings, Voice assistants: choose it for both. Before that,
check from the machine of Home Assistant:

    pip install wyoming
    python examples/home_assistant.py tcp://SERVER:10300

The check speaks a sentence, sends the audio back to be transcribed and prints what was understood.
"""

import asyncio
import sys
from typing import Any

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize


async def until(client: AsyncClient, kind: Any) -> list[Event]:
    """The events that come before one of `kind`, and that one."""
    events = []
    while event := await client.read_event():
        events.append(event)
        if kind.is_type(event.type):
            return events
    raise ConnectionError("the server closed the connection")


def silence(start: Event) -> Event:
    """Half a second of it, as a microphone would send after the sentence."""
    rate, width, channels = (start.data[name] for name in ("rate", "width", "channels"))
    return AudioChunk(rate, width, channels, bytes(rate * width * channels // 2)).event()


async def main(uri: str) -> None:
    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Describe().event())
        info = Info.from_event((await until(client, Info))[-1])
        print("speech to text:", info.asr[0].models[0].name)
        print("text to speech:", info.tts[0].voices[0].name)
        await client.write_event(Synthesize(text="turn on the light").event())
        spoken = await until(client, AudioStop)
    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Transcribe().event())
        start, *chunks, stop = spoken  # audio-start, audio-chunk …, audio-stop
        for event in (start, *chunks, silence(start), stop):
            await client.write_event(event)
        print("understood:", Transcript.from_event((await until(client, Transcript))[-1]).text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:10300"))
