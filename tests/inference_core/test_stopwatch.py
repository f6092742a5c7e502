# SPDX-License-Identifier: GPL-3.0-or-later
"""Each part of a run is timed once, and the parts that block it add up to the total."""

import io
import time

import pytest

from inference_core.cli.profile_table import print_profile
from inference_core.runtime.ahead import in_order
from inference_core.runtime.stopwatch import Stopwatch, timed, timed_items
from inference_core.shared.messages import Profile, decode_message, encode_message


@timed("inner")
def inner(_item: int = 0) -> None:
    time.sleep(0.02)


def test_nested_parts_and_threads_are_timed_separately() -> None:
    watch = Stopwatch()
    with watch.running():
        with timed("outer"):
            inner()
            list(in_order(inner, timed_items("taken", range(4))))
        time.sleep(0.01)
    profile = watch.profile(4)
    held_up = dict(zip(profile.parts, profile.held_up_s, strict=True))
    beside = dict(zip(profile.parts, profile.beside_s, strict=True))
    assert held_up["inner"] >= 0.02 and beside["inner"] >= 0.08
    assert min(held_up.values()) >= 0 and beside["outer"] == 0
    # Ten milliseconds are in no part; each figure is rounded to one.
    assert sum(profile.held_up_s) < profile.total_s - 0.007
    stream = io.StringIO()
    print_profile(profile, stream)
    table = stream.getvalue()
    assert all(part in table for part in (*profile.parts, "the rest", "frames a second"))
    assert decode_message(encode_message(profile)) == profile


def test_nothing_is_timed_without_a_stopwatch() -> None:
    watch = Stopwatch()
    inner()
    assert watch.profile(0).parts == ()
    print_profile(watch.profile(0), io.StringIO())
    with pytest.raises(ZeroDivisionError), watch.running(), timed("fails"):
        _ = 1 / 0
    assert watch.profile(1).parts == ("fails",)
    assert Profile((), (), (), 1.0, 1.0, 1) == decode_message(
        encode_message(Profile((), (), (), 1.0, 1.0, 1))
    )
