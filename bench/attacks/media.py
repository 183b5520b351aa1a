"""Damaged files, over HTTP and straight into the decoders: each must be read or refused, and
soon.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
from contextlib import aclosing

import httpx

from bench.attacks.mutations import damaged, sources
from bench.attacks.target import Tally, Target
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.wire.openai_rest import ApiError

AT_ONCE = 6
ANSWER_S = 60.0
# path, form fields, name of the file's field; the first is asked most often
ROUTES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("/v1/audio/transcriptions", {"model": "whisper-1"}, "file"),
    ("/v1/audio/transcriptions", {"model": "whisper-1", "response_format": "srt"}, "file"),
    ("/asr?encode=true&output=srt", {}, "audio_file"),
    ("/detect-language?encode=true", {}, "audio_file"),
    ("/interact", {}, "file"),
)


async def files(target: Target, count: int, seed: int) -> Tally:
    """`count` damaged files, `AT_ONCE` at a time."""
    tally = Tally("damaged files")
    originals = sources()
    contents = [data for _, data in originals]
    numbers = itertools.count()
    began = time.monotonic()

    async def sender(client: httpx.AsyncClient) -> None:
        while (number := next(numbers)) < count:
            chance = random.Random(f"{seed}/{number}")
            kind, data = chance.choice(originals)
            content = damaged(data, contents, chance)
            luck = chance.random()
            route = ROUTES[0] if luck < 0.8 else ROUTES[1 + int((luck - 0.8) / 0.05)]
            if route[0] == "/interact" and chance.random() < 0.7:  # a conversation takes a second
                route = ROUTES[0]
            await _send(
                client, target, tally, route, f"x.{kind}", content, f"{seed}/{number} {kind}"
            )

    async with httpx.AsyncClient(timeout=ANSWER_S, base_url=target.http_url) as client:
        await asyncio.gather(*(sender(client) for _ in range(AT_ONCE)))
    tally.seconds = time.monotonic() - began
    return tally


async def _send(
    client: httpx.AsyncClient,
    target: Target,
    tally: Tally,
    route: tuple[str, dict[str, str], str],
    name: str,
    content: bytes,
    what: str,
) -> None:
    path, form, field = route
    try:
        answer = await client.post(path, data=form, files={field: (name, content)})
        tally.http(answer.status_code, f"{what} at {path}: {answer.text[:160]}")
        if answer.status_code == 429:
            await asyncio.sleep(0.3)
    except httpx.TimeoutException:
        tally.tried += 1
        tally.wrong(f"no answer to {what} at {path} within {ANSWER_S:.0f} s", hung=True)
    except httpx.HTTPError as error:
        tally.tried += 1
        tally.wrong(f"{what} at {path}: {error!r}")


async def offline(count: int, seed: int) -> Tally:
    """`count` damaged files through the pool of decoders, without a server.

    `figures`: children that it lost.
    """
    tally = Tally("damaged files, offline")
    originals = sources()
    contents = [data for _, data in originals]
    numbers, decoders, ended = itertools.count(), DecoderPool(), 0

    async def sender() -> None:
        nonlocal ended
        while (number := next(numbers)) < count:
            chance = random.Random(f"{seed}/{number}")
            kind, data = chance.choice(originals)
            tally.tried += 1
            try:
                await asyncio.wait_for(_decode(decoders, damaged(data, contents, chance)), ANSWER_S)
                tally.answered += 1
            except ApiError as refused:
                tally.refused += 1
                ended += "failed on this file" in str(refused) or "too long" in str(refused)
            except (TimeoutError, asyncio.TimeoutError):
                tally.wrong(
                    f"{seed}/{number} {kind} was not decoded within {ANSWER_S:.0f} s", hung=True
                )

    async with decoders.running():
        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    tally.figures["decoders that ended"] = ended
    return tally


async def _decode(decoders: DecoderPool, content: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        async with aclosing(decoders.pieces(file)) as pieces:
            async for _ in pieces:
                pass
