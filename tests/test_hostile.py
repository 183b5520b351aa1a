"""The attacks of the bench: what makes them, and a short run of all of them against the real
processes.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace

import pytest
from running import ROOT

sys.path.insert(0, str(ROOT))
from bench import hostile
from bench.attacks import mutations
from bench.attacks.frames import HANDSHAKE, ON_6006


def test_honest_files_of_many_kinds_are_there_to_be_damaged():
    kinds = {kind for kind, _ in mutations.sources()}
    assert {"wav", "voc", "caf", "mov", "flv", "mp3", "ogg", "webm", "flac", "mp4"} <= kinds


def test_a_finding_can_be_made_again_from_its_number():
    data, others = bytes(range(256)), [b"RIFF" * 30]
    again = [mutations.damaged(data, others, random.Random("1/7")) for _ in range(2)]
    assert again[0] == again[1] != data
    assert mutations.text_of(HANDSHAKE, random.Random("1/7")) == mutations.text_of(
        HANDSHAKE, random.Random("1/7")
    )


def test_most_random_messages_are_json_and_many_are_not_what_they_should_be():
    chance, parsed, same = random.Random(1), 0, 0
    for _ in range(400):
        one = chance.choice(ON_6006)
        text = mutations.text_of(one, chance)
        try:
            parsed += 1
            same += json.loads(text) == one
        except (ValueError, RecursionError):
            parsed -= 1
    assert parsed > 300 and same < 300


@pytest.mark.live
def test_a_short_attack_costs_the_server_nothing_and_the_bystander_no_turn():
    """A minute and a half: files, messages, floods, leaving, keys, a pause and four kills.

    Times are in the report, not judged.
    """
    found = hostile.run(replace(hostile.SHORT, settle_s=0.0), hostile.PARTS)
    failed = [
        (row.tally.name, row.restarts, row.tally.examples, row.lost)
        for row in found["rows"]
        if row.failed
    ]
    assert not failed, failed
    assert len(found["rows"]) == 17 and all(row.tally.tried for row in found["rows"])
    assert sum(row.turns for row in found["rows"]) > 20


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--seed", "x"]])
def test_arguments_that_mean_nothing_are_refused(arguments):
    with pytest.raises(SystemExit):
        hostile.main(arguments)
