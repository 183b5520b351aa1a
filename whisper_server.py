"""Speech to text: WebSocket 6006, and one Conversation per call.

The event loop owns sockets, callers and detectors. Engine threads transcribe and predict ends of
turns; they get jobs from mailboxes and answer through `call_soon_threadsafe`. Microphone audio
never leaves this process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whisperfusion.agents import Agents
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.call.admission import Admission
from whisperfusion.call.audio_input import Transcription
from whisperfusion.call.caller import Caller
from whisperfusion.call.client_options import check_languages, default_language, languages_of
from whisperfusion.call.connection import Connections
from whisperfusion.call.degradation import Degradation
from whisperfusion.call.detectors import Detector, load_turn_model
from whisperfusion.call.draining import Draining
from whisperfusion.call.file_transcription import Reading
from whisperfusion.call.memory import memory_of
from whisperfusion.call.recognizers import asks_server, engine_name, load_asr, load_small
from whisperfusion.call.service import MESSAGES
from whisperfusion.call.speakers import load_speakers
from whisperfusion.engines import (
    ASR,
    ASROptions,
    EngineError,
    Hypothesis,
    Prediction,
    Utterance,
    VADStream,
    create_utterances,
    decode_batch,
)
from whisperfusion.engines.chain.asr import ASRChain
from whisperfusion.errors import GaveWay
from whisperfusion.messages import (
    CallNotice,
    Drain,
    Drained,
    FactsExtracted,
    Labelled,
    Notice,
    Ready,
    SpeechOmitted,
    Stage,
    Ticket,
    ToolsListed,
    TurnLost,
)
from whisperfusion.models import machine
from whisperfusion.runtime import event_loop as loop
from whisperfusion.runtime import process
from whisperfusion.runtime.sockets import listen
from whisperfusion.runtime.worker import Worker, queues
from whisperfusion.settings import Settings
from whisperfusion.turns.commands import Latency
from whisperfusion.turns.wait_estimate import WaitEstimate
from whisperfusion.written_language import WrittenLanguage

PROBE = np.zeros(MICROPHONE_RATE // 2, np.float32)  # what a sound engine can always read
REQUESTS = {True: 8, False: 2}  # final and interim ones that a server by URL gets at once
NOT_FOUND = Prediction(0.0)  # of an end-of-turn model that failed
TURN_FAILURES = 3  # in a row, after which it is not asked again
TOGETHER = 4  # callers whose words are read at once; more would make the first of them wait

log = logging.getLogger("asr")


@dataclass(frozen=True)
class TranscriptionJob:
    caller: Caller
    transcription: Transcription
    final: bool  # the user may have finished
    requested_at: float  # on the clock of the event loop, which is the monotonic one


class Service:
    """The engines, the callers and the way to the other processes."""

    sample_rate = SPEECH_RATE

    def __init__(self, settings: Settings, outbox: Any) -> None:
        self.settings, self._outbox = settings, outbox
        self._loop: Any = None
        self.stages: dict[str, Stage] = {}
        self.agents = Agents(settings.agents)
        self.memory = memory_of(settings, self.post)
        self.callers: dict[str, Caller] = {}
        self._threads = 1 if machine.cores() <= 2 else min(4, machine.cores() // 2)
        self.asr = load_asr(settings, self._threads, self._notify)
        self.languages = self.asr.languages or None
        check_languages(settings, self.languages)
        self.written = WrittenLanguage(settings)
        if languages_of(settings, self.languages):
            self.written.start()
        self._small: ASR | None = None  # for new utterances under load; see load_small
        self._vad = Detector(settings, self._notify)
        self._turn = load_turn_model(settings, self._notify)
        self._turn_failures = 0  # in a row
        self.scored = self._turn is not None
        self.degradation = Degradation(self.callers.values())
        self.counts = self.degradation.counts
        self.admission = Admission(
            self.degradation.load, self.stages, machine.cores(), settings.max_callers
        )
        # Two threads, two mailboxes: what may be the last transcript of a turn never waits for an
        # interim one, not even for the same caller's.
        by_url = asks_server(settings)
        # requests to a server do not wait for each other, nor for one that stalls
        self._together = 1 if by_url else TOGETHER
        self.transcribers = {
            final: Worker[TranscriptionJob](
                "asr" if final else "partial",
                self._transcribe,
                threads=REQUESTS[final] if by_url else 1,
                failed=self._transcription_failed,
                probe=self._probe,
            )
            for final in (True, False)
        }
        self.turn_detector: Worker[tuple[Caller, Samples, int]] = Worker(
            "turn", self._predict, failed=self._turn_detection_failed, probe=self._probe_turn
        )
        self.reading = Reading(self.asr, default_language(settings))
        self.speakers = load_speakers(settings, self._vad.create_stream, self._notify)

    @property
    def workers(self) -> tuple[Worker[Any], ...]:
        recordings = () if self.speakers is None else (self.speakers.recordings,)
        return (*self._live, self.reading.worker, *recordings)

    @property
    def _live(self) -> tuple[Worker[Any], ...]:
        """Without the recordings: a batch of them may take minutes on a slow machine."""
        return (
            *self.transcribers.values(),
            self.turn_detector,
            *self.reading.utterances.values(),
            *(() if self.speakers is None else (self.speakers.calls,)),
        )

    def start(self) -> None:
        """From inside the event loop."""
        self._loop = asyncio.get_running_loop()
        for worker in self.workers:
            worker.start()

    def load_small(self) -> None:
        """In a thread of its own, when the process is ready."""
        self._small = load_small(self.settings, self.asr.device, self._threads)
        self.degradation.load.smaller = self._small is not None

    def _notify(self, text: str) -> None:
        """A sentence for every caller, from any thread: by way of main, which keeps it for
        processes and clients that come later.
        """
        notice = Notice("asr", text)
        self._outbox.put(notice)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.deliver, notice)

    # --- for callers -----------------------------------------------------------------------------

    def post(self, message: object) -> None:
        self._outbox.put(message)

    def create_utterance(self, options: ASROptions) -> Utterance:
        """Raises EngineError for what the recognizer cannot do."""
        return self._recognizer(options).create_utterance(options)

    def create_utterances(self, options: ASROptions) -> tuple[Utterance, Utterance]:
        """For interim transcripts and for final ones."""
        return create_utterances(self._recognizer(options), options)

    def _recognizer(self, options: ASROptions) -> ASR:
        english = options.language == "en" and options.task == "transcribe"
        if self._small is not None and english and self.degradation.use_small(self._loop.time()):
            return self._small
        return self.asr

    def create_detector(self) -> VADStream:
        return self._vad.create_stream()

    def request_transcript(
        self, caller: Caller, transcription: Transcription, final: bool, live: bool
    ) -> None:
        """Live microphones (`live`) go before files."""
        job = TranscriptionJob(caller, transcription, final, self._loop.time())
        if final:
            transcription.requested_at = job.requested_at
        self.transcribers[final].put(Ticket(caller.call, 0), job, replace="transcript", urgent=live)

    def request_end_of_turn(self, caller: Caller, audio: Samples, stopped_at: int) -> None:
        self.turn_detector.put(
            Ticket(caller.call, 0), (caller, audio, stopped_at), replace="end_of_turn", urgent=True
        )

    def replied(self, latency: Latency) -> None:
        now = self._loop.time()
        self.degradation.replied(latency, now)
        self.admission.replied(latency, self.degradation.in_turn(), now)

    def estimate_wait(self) -> WaitEstimate | None:
        return self.degradation.estimate_wait(self.stages, self._loop.time())

    def turn_lost(self, message: TurnLost) -> None:
        self.degradation.turn_lost(message.stage)
        self._outbox.put(message)

    def apply_degradation(self) -> None:
        """With the heartbeat: limit all callers under load, and report what was counted."""
        now = self._loop.time()
        waiting = sum(worker.waiting() for worker in self.transcribers.values())
        self.admission.update(self.callers.values(), now)
        notice = self.degradation.apply(waiting, now)
        if notice:
            for caller in self.callers.values():
                caller.view.notice(notice)
        metrics = self.degradation.metrics(now)
        self._outbox.put(
            replace(
                metrics,
                values=(
                    *metrics.values,
                    *self.admission.metrics(now),
                    *queues(self._live),
                    *(self.memory.metrics() if self.memory is not None else ()),
                    *process.process_metrics(),
                ),
                labelled=self._links(),
            )
        )

    def _links(self) -> tuple[Labelled, ...]:
        if not isinstance(self.asr, ASRChain):
            return ()
        return tuple(Labelled(*one) for one in self.asr.links.counted("asr"))

    # --- engine threads --------------------------------------------------------------------------

    def _transcribe(self, ticket: Ticket, job: TranscriptionJob) -> bool:
        """This job, and those that wait with it: a batch of several callers takes less time than
        one after the other.
        """
        began = time.monotonic()
        worker = self.transcribers[job.final]
        jobs = [job, *(other for _, other in worker.more(self._together - 1))]
        # An interim transcript is of no use once a final one was requested.
        collected = [
            (one, one.transcription.collect(one.final))
            for one in jobs
            if one.requested_at >= one.transcription.requested_at
        ]
        full = [(one, *what) for one, what in collected if what is not None]
        decoded = decode_batch(
            self.asr, [(utterance, audio, one.final) for one, utterance, audio, _ in full]
        )
        each_s = (time.monotonic() - began) / max(1, len(full))
        for (one, _, _, upto), found in zip(full, decoded, strict=True):
            if isinstance(found, GaveWay):
                continue
            if isinstance(found, Exception):
                worker.fail(Ticket(one.caller.call, 0), one, found)
            else:
                self._loop.call_soon_threadsafe(
                    one.caller.guarded, self._transcribed, one, each_s, found, upto
                )
        return bool(full)

    def _transcription_failed(
        self, ticket: Ticket, job: TranscriptionJob, error: EngineError
    ) -> None:
        """Without an interim transcript a client misses a caption; the final one is another job."""
        if job.final:
            self._loop.call_soon_threadsafe(
                job.caller.guarded, job.caller.transcription_failed, job.transcription, str(error)
            )

    def _probe(self) -> None:
        self.asr.create_utterance(
            ASROptions(self.languages[0] if self.languages else None)
        ).accept_audio(PROBE)

    def _transcribed(
        self, job: TranscriptionJob, decode_s: float, hypothesis: Hypothesis, upto: int
    ) -> None:
        now = self._loop.time()
        self.degradation.transcribed(now - job.requested_at, decode_s, job.final, now)
        job.caller.transcript(job.transcription, hypothesis, upto)

    def _predict(self, ticket: Ticket, job: tuple[Caller, Samples, int]) -> None:
        caller, audio, stopped_at = job
        found = self._turn.predict_end_of_turn(audio) if self._turn else NOT_FOUND
        self._turn_failures = 0
        self._loop.call_soon_threadsafe(caller.guarded, caller.end_of_turn, found, stopped_at)

    def _turn_detection_failed(
        self, ticket: Ticket, job: tuple[Caller, Samples, int], error: EngineError
    ) -> None:
        """The end of the turn could not be predicted: silence decides, and for all calls to come
        where the model fails again and again.
        """
        caller, _, stopped_at = job
        self._turn_failures += 1
        if self._turn_failures == TURN_FAILURES:
            self._turn, self.scored = None, False
            self._notify(f"the end-of-turn model failed ({error}); silence decides")
        self._loop.call_soon_threadsafe(caller.guarded, caller.end_of_turn, NOT_FOUND, stopped_at)

    def _probe_turn(self) -> None:
        if self._turn is not None:
            self._turn.predict_end_of_turn(PROBE)

    # --- the inbox -------------------------------------------------------------------------------

    def deliver(self, message: Any) -> None:
        match message:
            case _ if isinstance(message, MESSAGES):
                caller = self.callers.get(message.ticket.call)
                if caller is not None:  # else it hung up meanwhile
                    caller.guarded(caller.message, message)
            case SpeechOmitted(ticket, reason):
                caller = self.callers.get(ticket.call)
                if caller is not None:
                    caller.guarded(caller.view.notice, reason)
            case CallNotice(call, text):
                if call in self.callers:
                    caller = self.callers[call]
                    caller.guarded(caller.view.notice, text)
            case ToolsListed(call):
                caller = self.callers.get(call)
                if caller is not None:
                    caller.guarded(caller.tools_listed, message)
            case FactsExtracted():
                if self.memory is not None:
                    self.memory.facts_extracted(message)
            case Notice(text=text):
                for caller in tuple(self.callers.values()):
                    caller.guarded(caller.view.notice, text)
            case Stage(name):
                self.stages[name] = message
                for caller in tuple(self.callers.values()):
                    caller.guarded(caller.stage, message)

    def served(self) -> int:
        return sum(worker.served for worker in self.workers)

    def beat(self) -> float | None:
        """Once a second: when the oldest unfinished job began."""
        self.apply_degradation()
        return min(
            (since for worker in self._live if (since := worker.busy_since()) is not None),
            default=None,
        )


async def main(settings: Settings, inbox: Any, outbox: Any, began: float) -> None:
    service = Service(settings, outbox)
    service.start()
    stopping = asyncio.Event()
    connections = Connections(service)
    draining = Draining(
        service.callers, connections.recordings, service.memory, lambda: outbox.put(Drained("asr"))
    )

    def receive(message: Any) -> None:
        if isinstance(message, Drain):
            service.admission.draining = True
            draining.start(message.within_s)
        else:
            service.deliver(message)

    async with listen(settings, settings.asr_port, "ASR_PORT", connections.serve) as server:
        process.start_inbox_thread(inbox, receive, stopping)
        asr, loaded_s = service.asr, time.monotonic() - began
        ready = Ready("asr", engine_name(settings), asr.model, asr.device, loaded_s)
        process.report_ready(outbox, ready)
        threading.Thread(target=service.load_small, name="small", daemon=True).start()
        await process.send_heartbeats("asr", outbox, service.beat, stopping, service.served)
        for worker in service.workers:
            worker.stop()
        server.close()
    if service.memory is not None:  # after the last word of its calls
        await asyncio.to_thread(service.memory.close)


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    loop.run(main(settings, inbox, outbox, time.monotonic()))
