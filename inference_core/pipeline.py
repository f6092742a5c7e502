# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: footage in, a take out."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference_core.chosen_network import LoadedNetwork, chosen_weights, load_network, network_at
from inference_core.detection import detect
from inference_core.fitting.lens import LensEstimate
from inference_core.fitting.settings import SolveSettings
from inference_core.footage import Footage, limits_of, open_footage, parse_frame_range
from inference_core.footage.exposure import brightened
from inference_core.footage.records import FootageInfo, Warn
from inference_core.geometry.camera import (
    Camera,
    camera_from_focal_length,
    camera_from_fov,
    camera_from_intrinsics,
    camera_from_metadata,
    default_camera,
)
from inference_core.geometry.camera_path import with_camera_path
from inference_core.hand_model.arrays import MANO_NAME, OPEN_HAND_NAME, HandArrays
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import hand_model_of
from inference_core.hand_model.mano_file import read_mano
from inference_core.paused_shot import with_pauses, without_pauses
from inference_core.preview import (
    check_plate_name,
    check_preview_name,
    plate_beside,
    write_plate,
    write_preview,
)
from inference_core.request_inputs import capture_inputs
from inference_core.resume_cache import ResumeCache
from inference_core.run import Run
from inference_core.runtime.ahead import beside
from inference_core.runtime.device import choose_device
from inference_core.runtime.imports_ahead import import_ahead
from inference_core.runtime.stopwatch import DECODE, LOAD, WRITE, timed
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import NAMED_NETWORKS, CaptureRequest, Progress, check_request
from inference_core.shared.presence import SEEN
from inference_core.shared.take import Take, save_take
from inference_core.shared.take_values import check_part
from inference_core.shared.whole_file import check_apart, check_name
from inference_core.stages import lens_by_hands, read, read_pieces, recover, solve, track
from inference_core.take_assembly import assemble_take, take_meta
from inference_core.tracking.assign import TrackSettings
from inference_core.tracking.detections import without_sightings
from inference_core.two_hand.card import check_hand, check_weights

# The names under which the networks are kept that every capture needs, in the order in which detection waits for them,
# and those that come with a two-hand network.
_NETWORKS, _HEADS = (
    ("palm", "hand-early", "hand-late", "person", "body", "hand-square"),
    ("hand-head", "hand-partner"),
)
TRACKS_PART = "tracks"
_OTHERS_TOLD = "More than two hands are in view: one person's are captured, the largest and longest in view."
# As many cuts are named.
_CUTS_TOLD = 8
_PART = re.compile(r"(\d{1,4})/(\d{1,4})", re.ASCII)
_log = logging.getLogger(__name__)


def capture_part(request: CaptureRequest, progress: Progress, warn: Warn) -> None:
    """Do a part of what `reconstruct` does, and keep it in OUT.partial for a run of the whole request.

    request.part: "tracks", or "K/N": the K-th of N shares of the frames' readings.
    """
    _capture(request, progress, warn)


def reconstruct(request: CaptureRequest, progress: Progress | None = None, warn: Warn = _log.warning) -> Take:
    """The take of the request's footage, saved to `request.out`, with a preview movie if requested.

    progress(stage, done, total) is called a few times a second. `warn` is called once for each problem that does not
    stop the run. DuohandError for a problem that the user must fix; nothing incomplete is left behind. A run that is
    stopped for another reason leaves `OUT.partial`, and the same request resumes from there.
    """
    take = _capture(request, progress or _silence, warn)
    assert take is not None, "a part has no take"
    return take


def _capture(request: CaptureRequest, progress: Progress, warn: Warn) -> Take | None:
    """The take; None for a request of a part."""
    check_request(request)
    share, notices = _share(request.part), _Notices(warn)
    out, preview = _outputs(request)
    frames = parse_frame_range(request.frames)
    limits = limits_of(request.max_pixels, request.max_frames)
    with timed(DECODE):
        footage = open_footage(request.footage, frames, request.fps, notices.add, limits)
    plate = _plate(request, footage, notices)
    camera = camera_of(request, footage.info, notices.add)
    if request.camera_path is not None:
        camera = with_camera_path(camera, Path(request.camera_path), footage.info.numbers)
    given = {"K": camera.K, "size_px": np.array(footage.info.size_px), "fps": np.array(footage.info.fps)}
    check_part({**given, "frame": np.array(footage.info.numbers)}, footage.info.name)
    hands = read_mano(Path(request.mano)) if request.mano else None
    if request.network not in NAMED_NETWORKS:
        check_hand(check_weights(Path(request.network)), MANO_NAME if hands else OPEN_HAND_NAME)
    # Beside all else, but only after invalid input has been rejected.
    import_ahead(_NETWORKS if request.network == "none" else (*_NETWORKS, *_HEADS))
    folder, device = chosen_weights(request.network), choose_device(request.device)
    with (
        beside(_loaded, hands, folder, device) as loaded,
        ResumeCache(out, request.resume, request.part) as cache,
    ):
        run = Run(
            brightened(footage),
            camera,
            lambda: loaded().hand_model,
            device,
            None if folder is None else network_at(folder, device, lambda: loaded().network_there),
            TrackSettings(hands=request.hands),
            SolveSettings(smooth=request.smooth, hand_length_mm=request.hand_length_mm),
            cache,
            progress,
            share,
        )
        shot = detect(run)
        hand_model = run.hand()
        shot = track(run, shot)
        detections = without_sightings(shot.detections)
        run, shot, pauses = with_pauses(run, shot)
        shot = recover(run, shot)
        if request.part:
            if request.part != TRACKS_PART:
                read_pieces(run, shot)
            return None
        shot = read(run, shot)
        # One after the other: two threads of small operations spend more on taking turns than a core is worth.
        lens = lens_by_hands(run, shot)
        shot = without_pauses(solve(run, shot), pauses, detections)
        assert shot.tracks is not None and shot.solution is not None
        if not (shot.tracks.present == SEEN).any():
            notices.add("No hands were found in the footage; the take holds none.")
        if shot.others:
            notices.add(_OTHERS_TOLD)
        cuts = [footage.info.numbers[at] for at in shot.detections.cuts.tolist()]
        if cuts:
            notices.add(_cuts_told(cuts))
        if lens is not None and not lens.low_deg < camera.fov_deg < lens.high_deg:
            notices.add(lens_offer(lens, camera))
        name = run.network.name if run.network else None
        meta = take_meta(request, footage.info, camera, hand_model, name, notices.texts, cuts, plate, lens)
        take = assemble_take(
            shot.solution,
            shot.tracks,
            camera,
            footage.info,
            shot.detections,
            hand_model,
            meta,
            shot.predictions,
        )
        with timed(WRITE):
            save_take(take, out)
            if preview is not None:
                write_preview(take, footage, preview, progress)
            if plate is not None:
                write_plate(footage, plate, progress)
    return take


@dataclass(frozen=True)
class _Loaded:
    """What the stages after detection need. network: None for landmarks alone."""

    hand_model: HandModel
    network: LoadedNetwork | None

    @property
    def network_there(self) -> LoadedNetwork:
        """The network of a run that has one."""
        assert self.network is not None
        return self.network


@timed(LOAD)
def _loaded(hands: tuple[HandArrays, HandArrays] | None, folder: Path | None, device: str) -> _Loaded:
    """The hand model, and the network in a weights folder."""
    hand_model = hand_model_of(hands)
    return _Loaded(hand_model, None if folder is None else load_network(folder, hand_model, device))


def camera_of(request: CaptureRequest, info: FootageInfo, warn: Warn) -> Camera:
    """The camera that the request describes, else the one in the footage's metadata
    (reported to `warn`), else the default.

    RequestError if the lens is incomplete or given twice.
    """
    size_px = info.size_px
    focal = request.focal_mm is not None or request.sensor_mm is not None
    if (request.fov_deg is not None) + focal + (request.intrinsics_px is not None) > 1:
        raise RequestError("Give the lens once: a field of view, or focal length and sensor, or intrinsics.")
    if request.fov_deg is not None:
        return camera_from_fov(size_px, request.fov_deg)
    if focal:
        if request.focal_mm is None or request.sensor_mm is None:
            raise RequestError(
                "A lens needs its focal length and the width of the sensor, both in millimetres."
            )
        return camera_from_focal_length(size_px, request.focal_mm, request.sensor_mm)
    if request.intrinsics_px is not None:
        fx, fy, cx, cy = request.intrinsics_px
        return camera_from_intrinsics(size_px, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
    camera = None if info.focal_35mm is None else camera_from_metadata(size_px, info.focal_35mm)
    if camera is None:
        return default_camera(size_px)
    warn(
        f"The lens is taken from the footage's metadata: {info.focal_35mm:g} mm as on 35 mm film, {camera.fov_deg:.0f} "
        "degrees across the wider side. Give the lens yourself if the picture was cropped or zoomed."
    )
    return camera


def lens_offer(lens: LensEstimate, camera: Camera) -> str:
    """What a person is told of a lens by the hands that is not the assumed one."""
    return (
        f"The lens is not known, and {camera.fov_deg:.0f} degrees across the wider side were assumed. By the hands "
        f"themselves it is about {lens.fov_deg:.0f} ({lens.low_deg:.0f} to {lens.high_deg:.0f}). If you do not know "
        f"it, capture again with a field of view of {lens.fov_deg:.0f} degrees: distances depend on it."
    )


def _cuts_told(cuts: Sequence[int]) -> str:
    """What a person is told of the frames that begin a piece."""
    numbers = ", ".join(str(number) for number in cuts[:_CUTS_TOLD]) + (
        ", ..." if len(cuts) > _CUTS_TOLD else ""
    )
    return f"The footage is cut before frame {numbers}: no hand is followed across a cut."


def _share(part: str) -> tuple[int, int]:
    """The first piece of frames to read, and the step to the next one."""
    if part in ("", TRACKS_PART):
        return 0, 1
    found = _PART.fullmatch(part)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise RequestError(f"The part {part[:40]!r} is invalid. Give {TRACKS_PART}, or one such as 2/3.")
    return number - 1, count


def _plate(request: CaptureRequest, footage: Footage, notices: "_Notices") -> Path | None:
    """The plate movie's path; None if it is not requested or not needed."""
    differences = ", ".join(footage.info.showing.differences)
    if request.proxy not in ("auto", "none"):
        return Path(request.proxy)
    if not differences:
        return None
    name = Path(request.footage).name
    if request.proxy == "none":
        notices.add(f"Blender would show {name} otherwise than it is worked on ({differences}).")
        return None
    plate = plate_beside(Path(request.out))
    notices.add(
        f"Blender would show {name} otherwise than it is worked on ({differences}): it is given {plate.name} for its "
        "plate."
    )
    return plate


def _outputs(request: CaptureRequest) -> tuple[Path, Path | None]:
    """The paths of the take and the preview; RequestError if either cannot or must not be written."""
    out = Path(request.out)
    check_name(out, (".npz",), "A take")
    preview = Path(request.preview) if request.preview else None
    if preview is not None:
        check_preview_name(preview)
    if request.proxy not in ("auto", "none"):
        check_plate_name(Path(request.proxy))
    plate = {"auto": plate_beside(out), "none": None}.get(request.proxy, Path(request.proxy))
    outputs = [path for path in (out, preview, plate) if path is not None]
    check_apart(outputs, capture_inputs(request))
    return out, preview


class _Notices:
    """Warnings of one run, each issued once."""

    def __init__(self, warn: Warn) -> None:
        self.texts: list[str] = []
        self._warn = warn

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)
            self._warn(text)


def _silence(stage: str, done: int, total: int) -> None:
    pass
