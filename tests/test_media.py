"""Files of every kind to samples and back: bounded, whatever a file says of itself."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from test_rest import speech_of, wav

from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.gateway.decoding import decode as decoding
from whisperfusion.gateway.decoding.decode import Undecodable, pieces
from whisperfusion.gateway.media import Encoder, RawDecoder
from whisperfusion.gateway.sound import (
    InputConverter,
    OutputConverter,
    companded,
    expanded,
    milliseconds,
)
from whisperfusion.wire.realtime import ALAW, PCM, ULAW


def read(data: bytes, **span: float) -> np.ndarray:
    return (
        np.frombuffer(b"".join(pieces(io.BytesIO(data), **span)), "<i2").astype(np.float32) / 32768
    )


def test_a_stretch_of_a_file():
    pcm = speech_of("alpha", "beta", pause_s=2.0)
    assert read_tones(read(wav(pcm)), 16_000) == "alpha beta"
    assert read_tones(read(wav(pcm), offset_s=2.0), 16_000) == "beta"
    assert len(read(wav(pcm), offset_s=0.5, length_s=1.0)) == 16_000
    assert len(read(wav(pcm), offset_s=500.0)) == 0


def test_a_file_that_declares_or_holds_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(decoding, "LONGEST_S", 1.0)
    with pytest.raises(Undecodable, match="says that it lasts"):
        read(wav(np.zeros(32_000, np.float32)))
    encoder = Encoder("aac", 16_000, 16_000)  # its container tells no length
    with pytest.raises(Undecodable, match="lasts|holds more"):
        read(encoder.encode(np.zeros(64_000, np.float32)) + encoder.close())


def test_a_file_of_many_streams_is_refused():
    held = io.BytesIO()
    with av.open(held, "w", format="matroska") as container:
        streams = [
            container.add_stream("pcm_s16le", rate=8000, layout="mono")
            for _ in range(decoding.MOST_STREAMS + 1)
        ]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 80), np.int16), format="s16", layout="mono"
            )
            frame.sample_rate = 8000
            for packet in stream.encode(frame):
                container.mux(packet)
    with pytest.raises(Undecodable, match="65 streams"):
        read(held.getvalue())


def test_a_film_without_sound_is_refused():
    held = io.BytesIO()
    with av.open(held, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    with pytest.raises(Undecodable, match="no sound"):
        read(held.getvalue())


@pytest.mark.parametrize("stretch", [0.25, 0.5, 0.9, 1.5, 4.0])
def test_speed_changes_the_length_and_not_the_pitch(stretch):
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 24_000).astype(np.float32) * 0.5
    encoder = Encoder("pcm", 24_000, 24_000, stretch)
    data = (
        b"".join(encoder.encode(tone[start : start + 2400]) for start in range(0, len(tone), 2400))
        + encoder.close()
    )
    samples = np.frombuffer(data, "<i2").astype(np.float32)
    assert len(samples) == pytest.approx(len(tone) / stretch, rel=0.1)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * 24_000 / len(samples) == pytest.approx(440, abs=8)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 1), (44_100, 2), (8000, 1)])
def test_bare_samples_in_pieces_that_fit_nothing(rate, channels):
    pcm = tone_speech("alpha beta", rate)
    data = np.repeat((pcm * 32767).astype("<i2"), channels).tobytes()
    decoder = RawDecoder(rate, channels)
    parts = [decoder.feed(data[start : start + 1237]) for start in range(0, len(data), 1237)]
    assert read_tones(np.concatenate([*parts, decoder.close()]), 16_000) == "alpha beta"


@pytest.mark.parametrize("kind", [PCM, ULAW, ALAW])
def test_the_formats_of_realtime_there_and_back(kind):
    pcm = (tone_speech("alpha beta", 24_000) * 32767).astype("<i2").tobytes()
    out, back = OutputConverter(kind), InputConverter(kind)
    sent = (
        b"".join(out.feed(pcm[start : start + 1000]) for start in range(0, len(pcm), 1000))
        + out.close()
    )
    assert milliseconds(kind, len(sent)) == pytest.approx(len(pcm) / 48, rel=0.02)
    samples = b"".join(back.feed(sent[start : start + 777]) for start in range(0, len(sent), 777))
    assert read_tones(np.frombuffer(samples, "<i2").astype(np.float32) / 32768, 16_000).startswith(
        "alpha bet"
    )


def test_g711_says_what_its_tables_say():
    """ITU-T G.711: silence is 0xFF in mu-law and 0xD5 in A-law, and what is expanded compresses
    to itself.
    """
    assert companded(bytes(20), ULAW) == b"\xff" * 10 and companded(bytes(20), ALAW) == b"\xd5" * 10
    for kind in (ULAW, ALAW):
        every = bytes(range(256))
        again = companded(expanded(every, kind), kind)
        # mu-law has two zeros
        assert sum(one != other for one, other in zip(every, again, strict=True)) <= 1
