# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a run as text for the panel and the status bar."""

from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.stages import STAGE_LABELS

from ..engine.job import JobState


def stage_text(state: JobState) -> str:
    """The run's current activity."""
    return iface_(STAGE_LABELS.get(state.stage, state.text) or state.text)


def status_text(state: JobState, waiting: int) -> str:
    """Activity and progress in one line."""
    parts = [stage_text(state)]
    if state.total:
        parts.append(progress_text(state))
    if waiting:
        parts.append(iface_("{waiting} more waiting").format(waiting=waiting))
    return f"Duohand: {', '.join(parts)}"


def progress_text(state: JobState) -> str:
    """Frames done and time left, in one line."""
    if not state.total:
        return state.text
    if state.seconds_left is None:
        return iface_("{done} of {total}").format(done=state.done, total=state.total)
    return iface_("{done} of {total}, {left} left").format(
        done=state.done, total=state.total, left=_clock(state.seconds_left)
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
