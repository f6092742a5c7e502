# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run's time went, as a table for a terminal."""

from typing import TextIO

from inference_core.cli.terminal import print_table
from inference_core.shared.messages import Profile


def print_profile(profile: Profile, stream: TextIO) -> None:
    """A row a part: seconds in which it held the run up, seconds of threads beside it, milliseconds a frame of both."""
    rest_s = profile.total_s - sum(profile.held_up_s)
    rows = [
        *zip(profile.parts, profile.held_up_s, profile.beside_s, strict=True),
        ("the rest", rest_s, 0.0),
        ("total", profile.total_s, 0.0),
    ]
    frames = max(profile.frames, 1)
    print_table(
        ("", "seconds", "in threads", "ms a frame"),
        [
            (
                name,
                f"{own_s:.2f}",
                f"{beside_s:.2f}" if beside_s else "",
                f"{(own_s + beside_s) / frames * 1000:.1f}",
            )
            for name, own_s, beside_s in rows
        ],
        stream,
    )
    print(
        f"{profile.frames / profile.total_s:.1f} frames a second, {profile.processor_s:.2f} s of processor time",
        file=stream,
    )
