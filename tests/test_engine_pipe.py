"""The frames to an engine in another interpreter: what goes in comes out, however it is cut, and
nothing else does.
"""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from whisperfusion.wire import WireError
from whisperfusion.wire import engine_pipe as wire

TEXT = st.text(alphabet=st.characters(), max_size=20)  # half surrogate pairs too
IDS = st.integers(0, 2**60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(TEXT, VALUES, max_size=3)
AUDIO = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.float16, np.int16, np.uint8, np.int64]),
    arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=40),
)
MESSAGES = st.one_of(
    st.builds(wire.Hello, TEXT),
    st.builds(wire.Load, TEXT, TEXT, FIELDS, FIELDS),
    st.builds(wire.Ready, FIELDS),
    st.builds(wire.Call, IDS, TEXT, FIELDS, st.none() | AUDIO),
    st.builds(wire.Took, IDS, IDS),
    st.builds(wire.Unwanted, IDS, st.lists(st.integers(0, 9))),
    st.builds(wire.Cancel, IDS),
    st.builds(wire.Piece, IDS, VALUES, st.none() | AUDIO),
    st.builds(wire.Pulse, IDS),
    st.builds(wire.Done, IDS, VALUES),
    st.builds(wire.Failed, IDS, TEXT, TEXT),
)
PIECE = wire.Piece(7, None, np.arange(5, dtype=np.float32))


def bytes_of(*messages: wire.Message) -> bytes:
    return b"".join(bytes(part) for message in messages for part in wire.encode(message))


def frame(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return wire.PREFIX.pack(wire.MAGIC, len(text), len(payload)) + text + payload


def same(one: wire.Message, other: wire.Message) -> bool:
    if type(one) is not type(other):
        return False
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            if not isinstance(b, np.ndarray) or (a.dtype, a.shape, a.tobytes()) != (
                b.dtype,
                b.shape,
                b.tobytes(),
            ):
                return False
        elif a != b:
            return False
    return True


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0, 4000), max_size=8))
def test_messages_survive_any_cutting(messages, cuts):
    data, decoder = bytes_of(*messages), wire.Decoder()
    cuts = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    got = [message for a, b in itertools.pairwise(cuts) for message in decoder.feed(data[a:b])]
    assert len(got) == len(messages)
    assert all(same(one, other) for one, other in zip(messages, got, strict=True))


@given(MESSAGES, MESSAGES, st.integers(1, 10_000))
def test_a_cut_off_frame_is_waited_for(first, second, missing):
    data, decoder = bytes_of(first, second), wire.Decoder()
    end = max(len(bytes_of(first)), len(data) - missing)
    assert len(list(decoder.feed(data[:end]))) == 1
    assert len(list(decoder.feed(data[end:]))) == 1


@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_an_error_at_its_first_wrong_byte(garbage):
    decoder = wire.Decoder()
    if wire.MAGIC.startswith(garbage[:4]):
        return
    with pytest.raises(WireError, match="not a frame"):
        list(decoder.feed(garbage))


@settings(max_examples=300)
@given(MESSAGES, st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_byte_is_an_error_or_another_message_but_never_another_exception(
    message, at, flip
):
    data = bytearray(bytes_of(message))
    data[at % len(data)] ^= flip
    try:
        assert all(
            isinstance(one, tuple(wire.TYPES.values())) for one in wire.Decoder().feed(bytes(data))
        )
    except WireError as error:
        assert str(error)


def test_what_is_said_before_the_garbage_counts():
    received = wire.Decoder().feed(bytes_of(wire.Cancel(3)) + b"version 0.10.0\n")
    assert next(received) == wire.Cancel(3)
    with pytest.raises(WireError, match=r"version 0.10.0.*begin with WFE1"):
        next(received)


def test_another_version_is_no_frame():
    with pytest.raises(WireError, match="WFE2.*WFE1"):
        list(wire.Decoder().feed(bytes_of(wire.Cancel(3)).replace(b"WFE1", b"WFE2")))


@pytest.mark.parametrize(
    "data",
    [
        wire.PREFIX.pack(wire.MAGIC, wire.HEADER_LIMIT + 1, 0),
        wire.PREFIX.pack(wire.MAGIC, 2, wire.PAYLOAD_LIMIT + 1),
    ],
)
def test_a_frame_too_large_is_refused_before_it_is_read(data):
    with pytest.raises(WireError, match="too large"):
        list(wire.Decoder().feed(data))


def test_a_message_too_large_is_not_sent():
    with pytest.raises(WireError, match="header.*too large"):
        wire.encode(wire.Failed(1, "x" * wire.HEADER_LIMIT, ""))
    with pytest.raises(WireError, match="payload.*too large"):
        wire.encode(wire.Piece(1, None, np.broadcast_to(np.uint8(0), (wire.PAYLOAD_LIMIT + 1,))))


@pytest.mark.parametrize(
    "data",
    [
        frame(b"{"),
        frame(b"\xff"),
        frame(b"[" * 100_000),
        frame([1]),
        frame({}),
        frame({"is": "Nonsense"}),
        frame({"is": ["Cancel"]}),
        frame({"is": "Cancel"}),
        frame({"is": "Cancel", "id": "3"}),
        frame({"is": "Cancel", "id": True}),
        frame({"is": "Cancel", "id": None}),
        frame({"is": "Cancel", "id": 3, "more": 1}),
        frame({"is": "Cancel", "id": 3}, b"1234"),
        frame({"is": "Cancel", "id": 3, "array": ["<f4", [1]]}, b"1234"),
        frame({"is": "Piece", "id": 3, "value": None}, b"1234"),
        frame({"is": "Piece", "id": 3, "value": None, "pcm": [0.5]}),
        *(
            frame({"is": "Piece", "id": 3, "value": None, "array": array}, b"1234")
            for array in (
                5,
                [],
                ["<f4"],
                ["<f4", 1],
                ["<f4", [2]],
                ["<f4", [-1]],
                ["<f4", [-1, -1]],
                ["<f4", ["1"]],
                ["<f4", [1.0]],
                ["<f4", [1, 1, 1]],
                ["|O", [1]],
                ["O", [4]],
                ["<U1", [1]],
                ["<f4,<f4", [1]],
                [["<f4"], [1]],
                ["<f4", [2**70]],
            )
        ),
        frame({"is": "Piece", "id": 3, "value": None, "array": ["<f4", [0, 2**70]]}),
    ],
)
def test_a_broken_message_is_refused(data):
    with pytest.raises(WireError):
        list(wire.Decoder().feed(data))


def test_samples_are_raw_and_may_be_written_to():
    assert bytes_of(PIECE).endswith(np.arange(5, dtype="<f4").tobytes())
    (received,) = wire.Decoder().feed(bytes_of(PIECE))
    received.pcm[0] = 9.0
    assert received.pcm.tolist() == [9.0, 1.0, 2.0, 3.0, 4.0]


def test_views_and_numbers_of_numpy_can_be_sent():
    (received,) = wire.Decoder().feed(
        bytes_of(
            wire.Piece(1, [np.float32(0.5), np.int64(3), np.bool_(True)], np.arange(9.0)[::-2])
        )
    )
    assert (received.value, received.pcm.tolist()) == ([0.5, 3, True], [8.0, 6.0, 4.0, 2.0, 0.0])


def test_what_cannot_be_sent_is_said():
    for pcm in (np.zeros(3, complex), np.zeros((2, 2, 2), np.float32), np.array([object()])):
        with pytest.raises(WireError, match="one channel of floats"):
            wire.encode(wire.Piece(1, None, pcm))
    with pytest.raises(TypeError, match="PosixPath|object"):
        wire.encode(wire.Done(1, object()))
