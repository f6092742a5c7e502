# SPDX-License-Identifier: GPL-3.0-or-later
"""The first stage of a capture: all sightings of hands in the footage."""

from collections.abc import Mapping

from inference_core.landmarks.networks import load_landmark_networks, load_pose_networks
from inference_core.run import PIECE_FRAMES, Run, Shot
from inference_core.runtime import stopwatch
from inference_core.runtime.ahead import ahead
from inference_core.runtime.imports_ahead import import_ahead
from inference_core.runtime.process import give_back_memory
from inference_core.runtime.stopwatch import DECODE, LOAD, timed, timed_items
from inference_core.shared.stages import DETECT
from inference_core.tracking.detect import ShotDetector, StoppedSearch
from inference_core.tracking.pairs_ahead import PairsAhead
from inference_core.tracking.read_frames import hands_were_near
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.sides_ahead import SidesAhead
from inference_core.tracking.tracklets import Columns

# A window of frames is decoded ahead while hands are followed through the one before, but never fewer than this.
_LEAST_AHEAD = 4
# By this frame, networks and hand models that cannot be used are told of; until then they may still be loading.
_LOADED_BY = 96
# In captures without a network, the sizes of hands are read in wider squares on every n-th frame.
_SIZES_EVERY = 12


def detect(run: Run) -> Shot:
    """All sightings of hands in the footage."""
    count = run.footage.info.count
    # Without a network, hands are read here only, so their sizes are read as well.
    settings = DetectionSettings(sizes_every=_SIZES_EVERY if run.network is None else 0)
    depends_on = {"device": run.device, "head": run.network_identity, "settings": str(settings)}
    stopped = _stopped_search(run, depends_on)
    kept = 0 if stopped is None else stopped.done
    width, height = run.footage.info.size_px
    frame_bytes = 3 * width * height
    needed = range(settings.first_needed(kept), count) if kept < count else ()
    frames = ahead(
        timed_items(DECODE, run.footage.at(needed)), settings.frames_held(frame_bytes, _LEAST_AHEAD)
    )
    with timed(LOAD):
        networks = load_landmark_networks(run.device)
    partner, sides, pairs = None, None, None
    if run.network is not None:
        partner, sides = run.network.partner, SidesAhead(lambda: run.head)
        pairs = PairsAhead(lambda: run.head) if run.tracking.hands == "both" else None
    detector = ShotDetector(
        networks,
        settings,
        lambda: load_pose_networks(run.device),
        lambda: run.head,
        partner,
        sides,
        pairs,
        stopped,
    )
    settled = 0 if stopped is None else sum(len(piece["at"]) for piece in stopped.settled)
    del stopped
    run.progress(DETECT, kept, count)
    if kept < count:
        for done in timed_items(stopwatch.DETECT, detector.run(frames)):
            if done - kept >= PIECE_FRAMES or done == count:
                settled = _keep(run, depends_on, detector, settled)
                kept = done
            run.progress(DETECT, done, count)
            # Frames come and go between what stays.
            give_back_memory()
            few_to_come = (count - done) * frame_bytes <= settings.window_bytes
            if run.network is not None and few_to_come and hands_were_near(*detector.last_seen()):
                # Little will come into memory, and a processor is often free.
                import_ahead((run.network.name,))
            if done >= _LOADED_BY:
                run.hand()
    found = Shot(
        detector.detections(),
        searched={} if pairs is None else pairs.searched(),
        head=None if sides is None else sides.readings,
    )
    del detector  # and its pictures
    give_back_memory()
    return found


def _keep(run: Run, depends_on: Mapping[str, str], detector: ShotDetector, start: int) -> int:
    """Save what a stopped run resumes from. Sightings that do not change any more are saved once: from the start-th on;
    returns how many there are now.
    """
    settled = detector.settled(start)
    if len(settled["at"]):
        run.keep(DETECT, {**depends_on, "settled": start}, settled)
    run.keep(DETECT, depends_on, detector.state())
    return start + len(settled["at"])


def _stopped_search(run: Run, depends_on: Mapping[str, str]) -> StoppedSearch | None:
    """What an earlier run of the same request saved; None if that is nothing, or not all of it is there."""
    state = run.load(DETECT, depends_on)
    if state is None:
        return None
    pieces, count = list[Columns](), 0
    while count < int(state["settled"]):
        piece = run.load(DETECT, {**depends_on, "settled": count})
        if piece is None:
            return None
        pieces.append(piece)
        count += len(piece["at"])
    return StoppedSearch(state, pieces)
