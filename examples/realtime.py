"""A spoken question over OpenAI Realtime, with the stock SDK.

    pip install "openai[realtime]"
    python examples/realtime.py question.wav answer.wav  # 24 kHz mono, 16 bit, both

The end-of-turn model of the server finds the end of the question. WHISPERFUSION_URL names another
server, OPENAI_API_KEY its key if it has one.
"""

import asyncio
import base64
import os
import sys
import wave

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000")
RATE, FRAME_S = 24_000, 0.1


async def speak(session: AsyncRealtimeConnection, path: str) -> None:
    """The question, then the silence by which the server knows that it is over."""
    with wave.open(path) as file:
        assert file.getframerate() == RATE, "the question has to have 24 kHz"
        sound = file.readframes(file.getnframes()) + bytes(2 * RATE)
    size = 2 * int(RATE * FRAME_S)
    for start in range(0, len(sound), size):
        frame = base64.b64encode(sound[start : start + size]).decode()
        await session.input_audio_buffer.append(audio=frame)
        await asyncio.sleep(FRAME_S)


async def main(question: str, answer: str) -> None:
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("OPENAI_API_KEY", "none"))
    async with client.realtime.connect(model="gpt-realtime") as session:
        await session.session.update(
            session={"type": "realtime", "instructions": "Answer in one sentence."}
        )
        speaking = asyncio.create_task(speak(session, question))
        with wave.open(answer, "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            async for event in session:
                if event.type == "response.output_audio.delta":
                    file.writeframes(base64.b64decode(event.delta))
                elif event.type == "response.output_audio_transcript.done":
                    print(event.transcript)
                elif event.type == "response.done":
                    break
        await speaking


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
