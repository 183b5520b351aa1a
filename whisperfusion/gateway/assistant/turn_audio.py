"""The audio of one turn of /ws, while it arrives."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from typing import BinaryIO, cast

from whisperfusion.gateway import forms, media
from whisperfusion.gateway.assistant.query import Query
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.pcm import encode


class TurnAudio:
    """A file, which is kept until the turn ends, or samples, which are sent on at once.

    `largest`: bytes.
    """

    def __init__(self, query: Query, largest: int) -> None:
        self._query, self._largest, self._size = query, largest, 0
        self._file: BinaryIO | None = None
        self._samples: media.RawDecoder | None = None

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
            return encode(self._samples.feed(data), "int16")
        if self._file is not None:
            self._file.write(data)
        return None

    def rest(self) -> bytes | None:
        """The end of the samples, as s16; None for a file."""
        return None if self._samples is None else encode(self._samples.close(), "int16")

    def pieces(self, decoders: DecoderPool, address: str) -> AsyncGenerator[bytes, None] | None:
        """The decoded file, as s16; None for samples."""
        if self._file is None:
            return None
        self._file.seek(0)
        return decoders.pieces(self._file, address)
