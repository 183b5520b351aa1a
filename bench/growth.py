"""Beyond one machine: how many machines, replicas and bits a number of calls needs, and what an
hour of conversation costs.

Whole servers grow by copying: each simulated alone, as many as there are calls for. Engines that
many cells share are a queue with several servers (M/M/c, Erlang's formula), which needs fewer of
them the more calls there are. Rates of cards are published ones of other people's machines and
models (`CARDS`); nothing here was measured on a card.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.queueing.language_model import tokens
from bench.queueing.parameters import Parameters
from bench.queueing.prediction import predict
from bench.table import markdown
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE
from whisperfusion.call.admission import ACTIVE_PER_CORE
from whisperfusion.turns.load_shedding import REPLY_S

CORES = (2, 4, 8, 16)
CALLS = (10, 100, 1000, 10_000)
FULL = 0.7  # of a shared engine's time: above, waits grow fast
WAIT_S, LATE = 0.1, 0.05  # a shared engine's queue: at most 5 % of the jobs wait longer
INTERIM_S = 1.0  # between interim transcripts of one speaker on a busy machine
BATCH = 4  # replies that are written at once there
BYTES = 2  # of a sample on the sockets; the bench's own client sends 4
FRAMES_A_S = 20.0  # each way: the page sends 50 ms
# Cores of a cell without engines, for each call that talks at the bench's pace: 2 ms a second and
# 68 ms a turn with scripted engines (bench/load.py), 8 ms a second for the detector
CELL_SHARE, CELL_FULL = 0.02, 0.7
STORE_A_TURN = 3  # commands of the session store
PACKETS = 200_000  # a second of one core of a balancer: an assumption


@dataclass(frozen=True)
class Card:
    """`rate`: seconds of sound a second, or tokens a second."""

    stage: str
    engine: str
    card: str
    rate: float
    source: str


CARDS = (
    Card(
        "asr",
        "faster-whisper large-v3-turbo, fp16",
        "RTX 2080 Ti",
        780 / 19.155,
        "https://github.com/SYSTRAN/faster-whisper/issues/1030",
    ),
    Card(
        "llm",
        "Llama 3.1 8B, BF16, vLLM, 8 at once",
        "A100 40 GB",
        75 * 6.6,
        "https://johnmusgrave.com/p/vllm-throughput-latency-sweep-on",
    ),
    Card(
        "llm",
        "Mistral 7B, vLLM, 16 at once",
        "RTX 4090",
        644,
        "https://mushfiqrahman.dev/?p=1668",
    ),
    Card(
        "tts",
        "Kokoro 82M",
        "RTX 3090 Ti",
        90,
        "https://huggingface.co/hexgrad/Kokoro-82M/discussions/20",
    ),
)


@dataclass(frozen=True)
class Turns:
    """Means of one turn. Seconds, of processor time where a stage is named (all threads together,
    on the calibrated machine); `sound`: that the recognizer reads, interim transcripts included.
    """

    speech: float
    reply: float
    tokens: float
    sound: float
    asr: float
    llm: float
    tts: float


def turns_of(parameters: Parameters) -> Turns:
    engines, turns = parameters.engines, parameters.turns
    speech = statistics.mean(one.speech_s for one in turns)
    characters = statistics.mean(len(one.reply) for one in turns)
    written = statistics.mean(len(tokens(one.reply)) for one in turns)
    words = statistics.mean(one.words for one in turns)
    interim = int(speech / INTERIM_S)
    asr = (
        engines.final_fixed
        + engines.final_each * speech
        + engines.end_of_turn
        + sum(
            engines.interim_fixed + engines.interim_each * INTERIM_S * (at + 1)
            for at in range(interim)
        )
    )
    step = engines.step + engines.token * BATCH
    return Turns(
        speech,
        characters / parameters.characters_per_s,
        written,
        speech + sum(INTERIM_S * (at + 1) for at in range(interim)),
        asr,
        2 * (written * step / BATCH + engines.prompt * (words * 1.3 + 6)),
        engines.voice + engines.character * characters,
    )


# --- shared engines -----------------------------------------------------------------------------


def erlang_c(servers: int, load: float) -> float:
    """The probability that a job waits, where jobs that need `load` servers on average come to
    `servers` at random (A. K. Erlang 1917).
    """
    if load >= servers:
        return 1.0
    blocked = 1.0  # Erlang's B, by its recursion
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def replicas(load: float, service_s: float) -> int:
    """The fewest servers of whose jobs at most `LATE` wait longer than `WAIT_S`, and which are not
    busier than `FULL`.
    """
    count = max(1, math.ceil(load / FULL))
    while erlang_c(count, load) * math.exp(-(count - load) * WAIT_S / service_s) > LATE:
        count += 1
    return count


def bits_a_second(turns: Turns, turns_a_minute: float) -> tuple[float, float]:
    """(up, down) of one call: the microphone always, the reply while it speaks."""
    speaking = min(1.0, turns.reply * turns_a_minute / 60)
    return 8.0 * BYTES * MICROPHONE_RATE, 8.0 * BYTES * SPEECH_RATE * speaking


# --- the report ---------------------------------------------------------------------------------


def report(parameters: Parameters, price: float) -> dict[str, str]:
    """Name of a table to its Markdown. `price` of an hour of the machine of the parameters, in any
    currency.
    """
    pace, turns = predict(parameters, 1, runs=2).turns_a_minute, turns_of(parameters)
    a_turn = (
        f"A turn of these callers: {turns.speech:.1f} s of speech, {turns.reply:.1f} s of reply "
        f"({turns.tokens:.0f} tokens), {pace:.1f} turns a minute. Its processor time: recognizer "
        f"{turns.asr:.2f} s, language model {turns.llm:.2f} s, voice {turns.tts:.2f} s."
    )
    return {
        "a turn": a_turn,
        "machines": machines(parameters, price),
        "cards": cards(turns, pace),
        "growth": grown(parameters, turns, pace),
    }


def machines(parameters: Parameters, price: float) -> str:
    rows = ["cores|callers admitted|median; 95th percentile|callers with a 95th percentile below "]
    rows[0] += f"{REPLY_S:g} s|for each core|an hour of conversation at {price:g} an hour"
    for cores in CORES:
        one = parameters.on(cores)
        admitted = ACTIVE_PER_CORE * cores
        at = predict(one, admitted, passes=_passes(admitted), runs=2, admits=False)
        most = most_callers(one)
        cost = price * cores / parameters.cores / most
        rows.append(
            f"{cores}|{admitted}|{at.p50 * 1000:.0f}; {at.p95 * 1000:.0f} ms|{most}|"
            f"{most / cores:.1f}|{cost:.4f}"
        )
    return markdown([row.split("|") for row in rows])


def most_callers(parameters: Parameters, limit_s: float = REPLY_S) -> int:
    """Callers at once whose 95th percentile is below `limit_s`, or near that of a single one where
    that is longer.
    """
    alone = predict(parameters, 1, runs=2).p95
    bound = max(limit_s, alone * 1.05)
    low, high = 1, 7 * parameters.cores
    while low < high:
        middle = (low + high + 1) // 2
        one = predict(parameters, middle, passes=_passes(middle), runs=2, admits=False)
        low, high = (middle, high) if one.p95 <= bound else (low, middle - 1)
    return low


def _passes(callers: int) -> int:
    return max(6, callers // 5)


def cards(turns: Turns, pace: float) -> str:
    rows = ["stage|engine|card|published rate|needed by a call|calls, at 70 %|source"]
    needed = {
        "asr": (turns.sound * pace / 60, "s of sound a second"),
        "llm": (turns.tokens * pace / 60, "tokens a second"),
        "tts": (turns.reply * pace / 60, "s of sound a second"),
    }
    for one in CARDS:
        each, unit = needed[one.stage]
        rows.append(
            f"{one.stage}|{one.engine}|{one.card}|{one.rate:.0f} {unit}|{each:.2f}|"
            f"{FULL * one.rate / each:.0f}|{one.source}"
        )
    return markdown([row.split("|") for row in rows])


def grown(parameters: Parameters, turns: Turns, pace: float, calls: Sequence[int] = CALLS) -> str:
    """Two ways to grow: whole servers, or cells without engines and shared engines."""
    most = min(most_callers(parameters), ACTIVE_PER_CORE * parameters.cores)
    up, down = bits_a_second(turns, pace)
    rows = [
        "calls that talk at once|whole servers|or: cells (cores)|recognizers|language models|"
        "voices|turns a second|session store, commands a second|up; down|balancer cores"
    ]
    for count in calls:
        rate = count * pace / 60
        engines = [
            replicas(rate * seconds / parameters.cores, seconds / parameters.cores)
            for seconds in (turns.asr, turns.llm, turns.tts)
        ]
        packets = count * FRAMES_A_S * (1 + min(1.0, turns.reply * pace / 60)) * 2
        rows.append(
            f"{count:,}|{math.ceil(count / most)}|{math.ceil(count * CELL_SHARE / CELL_FULL)}|"
            f"{engines[0]}|{engines[1]}|{engines[2]}|{rate:.0f}|{rate * STORE_A_TURN:.0f}|"
            f"{size(count * up)}; {size(count * down)}|{math.ceil(packets / PACKETS)}"
        )
    return markdown([row.split("|") for row in rows])


def size(bits: float) -> str:
    return f"{bits / 1e9:.1f} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.1f} Mbit/s"
