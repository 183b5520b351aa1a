"""Files from the field, decoded: what FFmpeg reads is read, what it cannot read is refused, and
a crash costs one file.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import aclosing, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from cancelling import cancel_at_every_await
from hypothesis import given, settings
from hypothesis import strategies as st
from running import ROOT, alive

from whisperfusion.gateway.decoding.child import HEAD
from whisperfusion.gateway.decoding.decode import FREE_S, LEAST_BYTES_S, Undecodable, pieces
from whisperfusion.gateway.decoding.fair_semaphore import FairSemaphore, QueueFull
from whisperfusion.gateway.decoding.pool import DecoderPool, _spawn
from whisperfusion.wire.openai_rest import ApiError

RATE = 16_000


def ffmpeg(*arguments: str) -> bytes:
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *arguments], check=True, capture_output=True
    ).stdout


def tone(seconds: float, rate: int, channels: int, hz: int = 440) -> list[str]:
    return ["-f", "lavfi", "-i", f"sine=f={hz}:d={seconds}:r={rate}", "-ac", str(channels)]


def made(folder: Path, name: str, *arguments: str) -> bytes:
    ffmpeg(*arguments, str(folder / name))
    return (folder / name).read_bytes()


def decoded(data: bytes, **asked) -> np.ndarray:
    return (
        np.frombuffer(b"".join(pieces(io.BytesIO(data), **asked)), "<i2").astype(np.float32) / 32768
    )


def loudest_hz(pcm: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(spectrum.argmax() * RATE / len(pcm))


def wav(
    tag: int = 1, bits: int = 16, rate: int = RATE, channels: int = 1, data: bytes = bytes(32)
) -> bytes:
    head = struct.pack("<IHHIIHH", 16, tag, channels, rate, 2 * rate, 2, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + head
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


# --- A1: a codec that cannot be read ------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"tag": 0x1234}, {"bits": 0}, {"channels": 0}], ids=str)
def test_a1_wav_of_an_unknown_format_is_refused(fields):
    with pytest.raises(Undecodable, match="a codec that cannot be read|not an audio file"):
        decoded(wav(**fields))


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("name", "codec", "old", "new"),
    [
        ("a.mov", "pcm_s16le", b"sowt", b"ac-4"),  # Dolby AC-4
        ("a.mov", "pcm_s16le", b"sowt", b"mha1"),  # MPEG-H
        ("a.caf", "pcm_s16le", b"lpcm", b"QDM9"),
        ("a.mkv", "libopus", b"A_OPUS", b"A_XPUS"),
        ("a.avi", "pcm_s16le", b"\x01\0\x01\0\x80>", b"\x70\x02\x01\0\x80>"),  # ATRAC3
    ],
)
def test_a1_relative_other_containers_with_a_codec_without_a_decoder(
    tmp_path, name, codec, old, new
):
    data = renamed(made(tmp_path, name, *tone(1, RATE, 1), "-c:a", codec), old, new)
    with pytest.raises(Undecodable, match="a codec that cannot be read|not an audio file|no sound"):
        decoded(data)


def test_a1_relative_a_track_that_can_be_read_beside_one_that_cannot(tmp_path):
    both = [
        "-map",
        "0",
        "-map",
        "1",
        "-c:a:0",
        "aac",
        "-c:a:1",
        "libopus",
        "-disposition:a:0",
        "default",
    ]
    data = made(tmp_path, "a.mkv", *tone(1, 48_000, 1)[:4], *tone(1, 48_000, 1, 880)[:4], *both)
    assert loudest_hz(decoded(renamed(data, b"A_AAC", b"A_XXX"))) == pytest.approx(880, abs=5)


def test_a1_relative_mutated_files_are_read_or_refused(tmp_path):
    """Numbers and names in the heads of old containers, set at random.

    In this process: a crash ends the test run.
    """
    chance = random.Random(7)
    kinds = {
        "a.voc": "pcm_u8",
        "a.wav": "adpcm_ms",
        "a.caf": "pcm_mulaw",
        "a.mov": "pcm_s16le",
        "a.flv": "libmp3lame",
    }
    files = [
        made(tmp_path, name, *tone(0.3, 22_050, 1), "-c:a", codec) for name, codec in kinds.items()
    ]
    for _ in range(300):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(4, min(160, len(data)))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        try:
            decoded(bytes(data))
        except Undecodable as problem:
            assert len(str(problem)) > 20


# --- B6: rates, and sound against bytes ---------------------------------------------------------


@pytest.mark.parametrize("rate", [1, 100, 3999, 500_000])
def test_b6_rates_outside_of_4_to_384_khz_are_refused(rate):
    with pytest.raises(Undecodable, match=f"{rate} samples a second; allowed: 4000 to 384000"):
        decoded(wav(rate=rate, data=bytes(86_000)))
    assert len(decoded(wav(rate=4000, data=bytes(8000)))) == RATE


def test_b6_relative_a_small_file_of_hours_is_cut_off(tmp_path):
    """Silence in FLAC: some bytes for 16 seconds."""
    silence = ["-f", "lavfi", "-i", "anullsrc=r=4000:cl=mono", "-t", "4000"]
    data = made(tmp_path, "a.flac", *silence, "-frame_size", "65535")
    assert len(data) < 20_000
    with pytest.raises(Undecodable, match="more than one of its size may"):
        decoded(data)
    ten_minutes = 600 * 600  # bytes, in the narrowest codec for speech, AMR at 4.75 kbit/s
    assert FREE_S + ten_minutes / LEAST_BYTES_S > 6000


# --- C2: all that ffmpeg decodes ----------------------------------------------------------------

JOINED = {  # two files, one after the other
    "mp3": ([], []),
    "aac": ([], []),
    "ts": (["-c:a", "aac"], ["-c:a", "aac"]),
    "ogg": ([], []),
    "opus": ([], []),
    "mp2": ([], []),
}


def length_of(path: Path) -> float:
    """Seconds that ffmpeg's command line decodes."""
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-f",
        "s16le",
        "-ac",
        "1",
        "-ar",
        str(RATE),
        "-",
    ]
    return len(subprocess.run(command, capture_output=True).stdout) / 2 / RATE


@pytest.mark.parametrize("kind", JOINED)
def test_c2_two_files_joined_whose_rate_and_channels_differ(tmp_path, kind):
    first, second = JOINED[kind]
    rate = 44_100 if kind != "opus" else 48_000
    one = made(tmp_path, f"one.{kind}", *tone(2, rate, 1), *first)
    two = made(
        tmp_path, f"two.{kind}", *tone(3, 22_050 if kind != "ogg" else 48_000, 2, 880), *second
    )
    (tmp_path / f"both.{kind}").write_bytes(one + two)
    pcm = decoded(one + two)
    assert len(pcm) / RATE == pytest.approx(length_of(tmp_path / f"both.{kind}"), abs=0.3)
    assert len(pcm) / RATE == pytest.approx(5.0, abs=0.3)
    assert loudest_hz(pcm[: 2 * RATE - 4000]) == pytest.approx(440, abs=5)
    assert loudest_hz(pcm[-2 * RATE :]) == pytest.approx(880, abs=10)


def test_c2_relative_four_links_of_a_chained_ogg_of_which_two_are_alike(tmp_path):
    one = made(tmp_path, "one.opus", *tone(1, 48_000, 1))
    two = made(tmp_path, "two.opus", *tone(1, 48_000, 2, 880))
    assert len(decoded(one + one + two + one)) / RATE == pytest.approx(4.0, abs=0.1)


DAMAGED = {
    "m4a": ["-c:a", "aac"],
    "faststart.m4a": ["-c:a", "aac", "-movflags", "+faststart"],
    "aac": [],
    "mp3": [],
    "webm": ["-c:a", "libopus"],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_c2_300_damaged_bytes(tmp_path, kind):
    chance = random.Random(3)
    data = bytearray(made(tmp_path, f"a.{kind}", *tone(30, 44_100, 2), *DAMAGED[kind]))
    begin = data.index(b"mdat") + 8 if "m4a" in kind else 2000
    for _ in range(300):
        data[chance.randrange(begin, begin + len(data) // 2)] = chance.randrange(256)
    (tmp_path / f"bad.{kind}").write_bytes(data)
    there = length_of(tmp_path / f"bad.{kind}")
    assert there > 5 and len(decoded(bytes(data))) / RATE == pytest.approx(there, rel=0.03)


@pytest.mark.parametrize("kind", ["faststart.m4a", "aac", "mp3", "webm"])
def test_c2_files_that_were_cut_short(tmp_path, kind):
    data = made(tmp_path, f"a.{kind}", *tone(20, 44_100, 2), *DAMAGED[kind])
    cut = data[: len(data) * 6 // 10]
    (tmp_path / f"cut.{kind}").write_bytes(cut)
    there = length_of(tmp_path / f"cut.{kind}")
    assert there > 10 and len(decoded(cut)) / RATE == pytest.approx(there, abs=0.3)


# --- C3: which track ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """Three tracks: Norwegian, German (the default), and one that does not say."""
    sources = [part for hz in (440, 880, 1320) for part in tone(1, 48_000, 1, hz)[:4]]
    labels = [
        "-metadata:s:a:0",
        "language=nor",
        "-metadata:s:a:1",
        "language=ger",
        "-disposition:a:0",
        "0",
        "-disposition:a:1",
        "default",
    ]
    maps = ["-map", "0", "-map", "1", "-map", "2", "-c:a", "libopus", "-disposition:a:2", "0"]
    return made(tmp_path_factory.mktemp("film"), "a.mkv", *sources, *maps, *labels)


@pytest.mark.parametrize(("language", "hz"), [(None, 880), ("de", 880), ("no", 440), ("en", 880)])
def test_c3_the_track_in_the_asked_language_else_the_default_one(film, language, hz):
    assert loudest_hz(decoded(film, language=language)) == pytest.approx(hz, abs=5)


# --- the pool -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_file(tmp_path_factory) -> Path:
    """A minute: more than the socket to a child holds."""
    folder = tmp_path_factory.mktemp("long")
    made(folder, "a.mp3", *tone(60, RATE, 1))
    return folder / "a.mp3"


async def all_of(pool: DecoderPool, path: Path) -> int:
    with path.open("rb") as file:
        async with aclosing(pool.pieces(file)) as parts:
            return sum([len(part) async for part in parts]) // 2


CHILD = "whisperfusion.gateway.decoding.child"


def children() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # gone since they were listed
            if one.status() != psutil.STATUS_ZOMBIE and CHILD in one.cmdline():
                found.append(one)
    return found


async def broken_by(pool: DecoderPool, path: Path, number: int) -> str:
    """The error of a file whose child gets a signal in the middle of it."""
    with path.open("rb") as file:
        async with aclosing(pool.pieces(file)) as parts:
            await anext(parts)
            for child in children():
                child.send_signal(number)
            with pytest.raises(ApiError) as problem:
                async for _ in parts:
                    pass
    assert problem.value.status == 400 and problem.value.param == "file"
    return problem.value.message


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGSEGV, "the decoder failed on this file"),
        (signal.SIGXCPU, "too long"),
        (signal.SIGSTOP, "too long"),
    ],
)
async def test_a1_a_child_that_crashes_or_hangs_costs_one_file(long_file, number, says):
    pool = DecoderPool(silent_s=1.0)
    async with pool.running():
        assert says in await broken_by(pool, long_file, number)
        other = DecoderPool()
        async with other.running():  # a patient one: the machine may be busy
            assert await all_of(other, long_file) == pytest.approx(60 * RATE, rel=0.01)


async def test_a1_a_child_that_died_at_rest_is_not_used(long_file):
    pool = DecoderPool()
    async with pool.running():
        await all_of(pool, long_file)
        (child,) = children()
        child.kill()
        while alive(child.pid):
            await asyncio.sleep(0.01)
        assert await all_of(pool, long_file) == pytest.approx(60 * RATE, rel=0.01)


async def test_a1_a_child_that_dies_before_it_takes_a_file_costs_none(long_file):
    """Stopped, its socket still takes the job; so does one that is being killed."""
    pool = DecoderPool()
    async with pool.running():
        await all_of(pool, long_file)
        (child,) = children()
        child.suspend()
        decoded = asyncio.create_task(all_of(pool, long_file))
        await asyncio.sleep(0.1)
        child.kill()
        assert await decoded == pytest.approx(60 * RATE, rel=0.01)


async def test_a1_a_file_cancelled_before_it_is_taken_leaves_no_child(long_file):
    pool = DecoderPool()
    async with pool.running():
        await all_of(pool, long_file)
        (child,) = children()
        child.suspend()
        decoded = asyncio.create_task(all_of(pool, long_file))
        await asyncio.sleep(0.1)
        decoded.cancel()
        await asyncio.gather(decoded, return_exceptions=True)
        child.wait(30)  # raises TimeoutExpired
        assert await all_of(pool, long_file) == pytest.approx(60 * RATE, rel=0.01)


def test_a1_a_child_may_not_take_gigabytes():
    code = "from whisperfusion.gateway.decoding.child import limit; limit(); bytearray(2 << 30)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "MemoryError" in done.stderr


def test_a1_children_end_with_the_gateway_even_if_it_is_killed(long_file):
    code = f"""
import asyncio, os, psutil
from whisperfusion.gateway.decoding.pool import DecoderPool
async def main():
    pool = DecoderPool()
    async with pool.running():
        parts = pool.pieces(open({str(long_file)!r}, "rb"))
        await anext(parts)
        print(*(one.pid for one in psutil.Process().children()), flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids and all(alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    for pid in pids:
        gone, _ = psutil.wait_procs([psutil.Process(pid)] if alive(pid) else [], timeout=20)
        assert gone or not alive(pid)


def waiting(channel: socket.socket) -> int:
    """Bytes that have come, and are not read."""
    return int.from_bytes(fcntl.ioctl(channel, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a1_a_child_ends_with_a_gateway_that_had_not_read_all_it_sent(long_file):
    """The kernel tells that end as an error, in place of the end of the stream."""
    ours, theirs = socket.socketpair()
    with theirs:
        child = _spawn(theirs.fileno())
    try:
        job = {"span": [RATE, 0.0, 0.5], "language": None, "number": 1}
        with long_file.open("rb") as file:
            socket.send_fds(ours, [json.dumps(job).encode() + b"\n"], [file.fileno()])
        while waiting(ours) < 3 * HEAD.size + RATE:  # taken, half a second of s16, the end
            time.sleep(0.01)
        ours.close()
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()


async def test_b6_a_file_that_is_not_wanted_any_more_frees_its_child(long_file):
    pool = DecoderPool(most=1)
    async with pool.running():
        await all_of(pool, long_file)
        (before,) = children()
        for _ in range(5):
            with long_file.open("rb") as file:
                async with aclosing(pool.pieces(file)) as parts:
                    await anext(parts)
        assert await all_of(pool, long_file) == pytest.approx(60 * RATE, rel=0.01)
        # it stopped at once each time: no new one was needed
        assert [one.pid for one in children()] == [before.pid]
    assert not children()


async def test_a_request_that_is_cancelled_anywhere_frees_child_and_place(tmp_path):
    made(tmp_path, "a.wav", *tone(3, RATE, 1))
    pool = DecoderPool(most=1)
    async with pool.running():
        assert await all_of(pool, tmp_path / "a.wav") == 3 * RATE

        async def check(at: int) -> None:
            assert await asyncio.wait_for(all_of(pool, tmp_path / "a.wav"), 60) == 3 * RATE, at

        before = psutil.Process().num_fds()
        assert await cancel_at_every_await(lambda: all_of(pool, tmp_path / "a.wav"), check) >= 2
        assert psutil.Process().num_fds() <= before
    assert not children()


async def test_a_file_in_memory_is_read_too(long_file):
    import tempfile

    pool = DecoderPool()
    async with pool.running():
        with tempfile.SpooledTemporaryFile(10_000_000) as file:
            file.write(wav(data=bytes(32_000)))
            async with aclosing(pool.pieces(file)) as parts:
                assert sum([len(part) async for part in parts]) == 32_000


# --- places -------------------------------------------------------------------------------------


async def test_names_take_turns_and_none_takes_all_places():
    slots = FairSemaphore(most=3, share=2, waiting=4)
    order: list[str] = []

    async def visit(name: str) -> None:
        await slots.acquire(name)
        order.append(name)

    tasks = [asyncio.create_task(visit(name)) for name in "aaaaab"]
    await asyncio.sleep(0)
    assert order == ["a", "a", "b"]
    tasks += [asyncio.create_task(visit(name)) for name in "cb"]
    await asyncio.sleep(0)
    for _ in range(4):
        slots.release("a" if order.count("a") > order.count("x") else "b")
        order.append("x")
        await asyncio.sleep(0)
    assert order.index("c") < 8 and order.count("b") >= 1
    with pytest.raises(QueueFull):
        await asyncio.gather(*(asyncio.wait_for(slots.acquire("z"), 1) for _ in range(9)))
    for task in tasks:
        task.cancel()


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(("take", "leave", "cancel"))), max_size=40
    )
)
def test_places_are_neither_lost_nor_given_twice(steps):
    async def run() -> None:
        slots, tasks, held = FairSemaphore(3, 2, 10), [], []

        async def visit(name: str) -> None:
            await slots.acquire(name)
            held.append(name)

        for name, step in steps:
            if step == "take":
                tasks.append(asyncio.create_task(visit(name)))
            elif step == "leave" and held:
                slots.release(held.pop(0))
            elif step == "cancel" and tasks:
                tasks.pop().cancel()
            await asyncio.sleep(0)
            assert len(held) <= 3 and all(held.count(one) <= 2 for one in held)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while held:
            slots.release(held.pop())
        await asyncio.wait_for(asyncio.gather(*(slots.acquire(name) for name in "aab")), 5)

    asyncio.run(run())
