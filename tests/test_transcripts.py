"""Subtitles and tables from cues: literal texts, then that real parsers and any cues agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.wire.transcripts import FORMATS, Cue, SpokenWord, as_segment, written

HELLO = Cue(
    0.5,
    2.25,
    " Hello  there. ",
    (SpokenWord("Hello", 0.5, 1.0, 0.9), SpokenWord("there.", 1.1, 2.25, 0.8)),
)
ARROW = Cue(3661.0, 3662.0005, "left --> right\tand <b> & on")


def of(output: str, *cues: Cue, language: str = "en") -> str:
    return "".join(written(cues, output, language))


def test_text_has_one_segment_in_each_line():
    assert of("txt", HELLO, Cue(2, 3, "  "), ARROW) == "Hello there.\nleft --> right and <b> & on\n"


def test_subrip():
    assert of("srt", HELLO, Cue(2.3, 2.4, " "), ARROW) == (
        "1\n00:00:00,500 --> 00:00:02,250\nHello there.\n\n2\n01:01:01,000 --> 01:01:02,000\nleft "
        "-> right and <b> & on\n\n"
    )


def test_webvtt():
    assert of("vtt", HELLO, ARROW) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:02.250\nHello there.\n\n01:01:01.000 --> "
        "01:01:02.000\nleft -> right and &lt;b> &amp; on\n\n"
    )


def test_tables():
    assert of("tsv", HELLO, ARROW) == (
        "start\tend\ttext\n500\t2250\tHello there.\n3661000\t3662000\tleft --> right and <b> & on\n"
    )
    first, second = map(json.loads, of("jsonl", HELLO, ARROW).splitlines())
    assert first == {
        "start": 0.5,
        "end": 2.25,
        "text": "Hello there.",
        "words": [
            {"word": "Hello", "start": 0.5, "end": 1.0},
            {"word": "there.", "start": 1.1, "end": 2.25},
        ],
    }
    assert "words" not in second


def test_json_is_one_object_however_it_comes():
    whole = json.loads(of("json", HELLO, ARROW, language="de"))
    assert (
        whole["text"] == "Hello there. left --> right and <b> & on"
        and whole["language"] == "de"
        and len(whole["segments"]) == 2
    )
    assert whole["segments"][0]["words"][0]["probability"] == 0.9
    assert json.loads(of("json")) == {"text": "", "language": "en", "segments": []}


def test_of_silence_nothing_is_written_but_what_the_format_asks_for():
    assert [of(output) for output in ("txt", "srt", "vtt", "tsv", "jsonl")] == [
        "",
        "",
        "WEBVTT\n\n",
        "start\tend\ttext\n",
        "",
    ]


def test_an_unknown_format_is_told_the_known_ones():
    with pytest.raises(ValueError, match="'doc' is not a known format; allowed: txt, srt"):
        written([], "doc")


def test_a_segment_has_every_field_that_clients_require():
    assert set(as_segment(0, HELLO)) == {
        "id",
        "seek",
        "start",
        "end",
        "text",
        "tokens",
        "temperature",
        "avg_logprob",
        "compression_ratio",
        "no_speech_prob",
    }


CUES = st.lists(
    st.builds(Cue, st.floats(-1, 90_000), st.floats(-1, 90_000), st.text(max_size=30)), max_size=6
)


@given(CUES, st.sampled_from(FORMATS))
def test_any_cues_can_be_written_and_times_never_go_back(cues, output):
    text = of(output, *cues)
    if output == "tsv":
        rows = [line.split("\t") for line in text.split("\n")[1:-1]]
        times = [int(cell) for row in rows for cell in row[:2]]
        assert times == sorted(times) and all(len(row) == 3 for row in rows)
    if output == "srt":
        assert text.count(" --> ") == sum(bool(cue.text.strip()) for cue in cues)
