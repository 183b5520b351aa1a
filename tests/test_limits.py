"""How often and how many at once."""

from __future__ import annotations

import pytest

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
