"""The audio of one turn of /ws, while it arrives."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from typing import BinaryIO, cast

from whisperfusion.audio import Samples
from whisperfusion.gateway import forms, media
from whisperfusion.gateway.assistant.query import Query
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.pcm import encode


class TurnAudio:
    """A file, or samples, which are sent on at once. Both are kept until the turn is answered: a
    process that dies takes with it what it was sent.

    `largest`: bytes.
    """

    def __init__(self, query: Query, largest: int) -> None:
        self._query, self._largest, self._size = query, largest, 0
        self._file: BinaryIO | None = None
        self._samples: media.RawDecoder | None = None
        self._sent: list[bytes] = []  # of the samples, as s16

    @property
    def started(self) -> bool:
        return self._file is not None or self._samples is not None

    def accept(self, data: bytes) -> bytes | None:
        """What is to be sent on as s16, or None for a file. Raises ApiError."""
        self._size += len(data)
        if self._size > self._largest:
            raise ApiError(
                413,
                f"a turn is larger than {self._largest / 1e6:g} MB; send end_stream earlier",
                code="request_too_large",
            )
        if not self.started:
            if self._query.is_file(data):
                file = tempfile.SpooledTemporaryFile(forms.IN_MEMORY)  # noqa: SIM115
                self._file = cast(BinaryIO, file)
            else:
                self._samples = media.RawDecoder(self._query.rate, self._query.channels)
        if self._samples is not None:
            return self._kept(self._samples.feed(data))
        if self._file is not None:
            self._file.write(data)
        return None

    def rest(self) -> bytes | None:
        """The end of the samples, as s16; None for a file."""
        return None if self._samples is None else self._kept(self._samples.close())

    def _kept(self, samples: Samples) -> bytes:
        self._sent.append(encode(samples, "int16"))
        return self._sent[-1]

    def pieces(self, decoders: DecoderPool, address: str) -> AsyncGenerator[bytes, None]:
        """All of the turn as s16, which may be had again."""
        if self._file is None:
            return self._all_sent()
        self._file.seek(0)
        return decoders.pieces(self._file, address)

    async def _all_sent(self) -> AsyncGenerator[bytes, None]:
        for piece in self._sent:
            yield piece
