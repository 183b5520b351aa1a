"""How often and how many at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from running import ROOT

from whisperfusion.runtime.rate_limits import Limits, TooMany


def test_so_many_a_minute_for_each_name():
    limits = Limits(per_minute=3, at_once=0)
    for _ in range(3):
        with limits.admitted(["a", ""]):
            pass
    with pytest.raises(TooMany, match="3 requests a minute") as refused, limits.admitted(["a"]):
        pass
    assert 1 <= refused.value.retry_after_s <= 60
    with limits.admitted(["b"]):
        pass


def test_so_many_at_once_and_what_ends_makes_room():
    limits = Limits(per_minute=0, at_once=2)
    with limits.admitted(["a"]):
        with (
            limits.admitted(["a", "key"]),
            pytest.raises(TooMany, match="at once"),
            limits.admitted(["b", "a"]),
        ):
            pass
        with limits.admitted(["a"]):
            pass
    assert not limits._open


def test_no_limit_is_no_limit():
    limits = Limits(0, 0)
    for _ in range(100):
        with limits.admitted(["a"]):
            pass


RAISED = """
import logging, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
from whisperfusion.runtime.listener import max_connections, raise_descriptor_limit
logging.basicConfig(format="%(message)s")
raise_descriptor_limit(int(sys.argv[1]))
print(resource.getrlimit(resource.RLIMIT_NOFILE), max_connections(1))
"""


@pytest.mark.parametrize(("callers", "warned"), [(30, False), (672, False), (673, True)])
def test_a_server_takes_the_descriptors_that_it_may_have(callers, warned):
    run = subprocess.run(
        [sys.executable, "-c", RAISED, str(callers)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.stdout == "(1024, 1024) 896\n", run.stderr
    assert (f"MAX_CALLERS={callers}, but one balancer can open only 672 calls" in run.stderr) == (
        warned
    ), run.stderr
