"""pipecat's Realtime service, the strictest parser of all, against a running server: python
pipecat_service.py URL question.wav

It ends its connection on every event that it does not know. Prints one JSON object: what was said,
and how much sound came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService


class Notes(FrameProcessor):
    def __init__(self) -> None:
        super().__init__()
        self.sound, self.said, self.errors, self.heard = 0, [], [], []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.sound += len(frame.audio)
        elif isinstance(frame, TTSTextFrame):
            self.said.append(frame.text)
        elif isinstance(frame, ErrorFrame):
            self.errors.append(str(frame.error))
        elif isinstance(frame, TranscriptionFrame):
            self.heard.append(frame.text)
        await self.push_frame(frame, direction)


async def main(url: str, path: str) -> None:
    service = OpenAIRealtimeLLMService(api_key="any", base_url=url)
    notes = Notes()
    pair = LLMContextAggregatorPair(LLMContext())
    task = PipelineTask(
        Pipeline([pair.user(), service, notes, pair.assistant()]),
        params=PipelineParams(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000),
    )

    async def speak() -> None:
        await asyncio.sleep(1)
        with wave.open(path) as file:
            sound = file.readframes(file.getnframes()) + bytes(48_000 * 2)
        for start in range(0, len(sound), 960):
            await task.queue_frame(
                InputAudioRawFrame(
                    audio=sound[start : start + 960], sample_rate=24_000, num_channels=1
                )
            )
            await asyncio.sleep(0.02)
        for _ in range(300):
            await asyncio.sleep(0.1)
            if notes.sound and notes.said:
                break
        await asyncio.sleep(2)
        await task.queue_frame(EndFrame())

    await asyncio.gather(PipelineRunner(handle_sigint=False).run(task), speak())
    print(
        json.dumps(
            {"sound": notes.sound, "said": notes.said, "errors": notes.errors, "heard": notes.heard}
        )
    )


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 90))
