# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run's time went, as a table for a terminal."""

from inference_core.shared.messages import Profile


def profile_table(profile: Profile) -> str:
    """A line a part: seconds in which it held the run up, and of threads beside; milliseconds a frame of both."""
    frames = max(profile.frames, 1)
    lines = [f"{'':<17}{'seconds':>9}{'beside':>9}{'ms a frame':>12}"]
    for part, held_up_s, beside_s in zip(profile.parts, profile.held_up_s, profile.beside_s, strict=True):
        lines.append(
            f"{part:<17}{held_up_s:9.2f}{beside_s:9.2f}{(held_up_s + beside_s) / frames * 1000:12.1f}"
        )
    rest_s = profile.total_s - sum(profile.held_up_s)
    lines.append(f"{'the rest':<17}{rest_s:9.2f}{'':>9}{rest_s / frames * 1000:12.1f}")
    total_ms = profile.total_s / frames * 1000
    lines.append(
        f"{'the whole':<17}{profile.total_s:9.2f}{'':>9}{total_ms:12.1f}  {profile.frames / profile.total_s:.1f} "
        f"frames a second, {profile.processor_s:.2f} s of the processor"
    )
    return "\n".join(lines)
