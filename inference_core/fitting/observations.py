# SPDX-License-Identifier: GPL-3.0-or-later
"""The observations of a range of frames as one flat list of N hand frames, ready for the solve (float64).

Sorted by side, then by frame: neighbours in time are neighbours in the list.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Flags, Floats, Indices, lengths, means
from inference_core.geometry.camera import Camera
from inference_core.geometry.projection import pixel_rays
from inference_core.geometry.rotations import log, turn_to_ray
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.tracking.hand_tracks import REMEMBERED_FRAMES, HandTracks, frames_to_known
from inference_core.two_hand.predictions import TwoHandPredictions

# The network's confidence needed to restore a hand that the tracks call absent. Less is needed shortly
# before, after or between sightings; a hand that is not seen again has usually left.
_NETWORK_PRESENCE, _NETWORK_CONFIDENCE, _CONFIDENCE_NEAR = 0.5, 0.3, 0.1
_OPEN_END_FRAMES = 6
# The landmarks of a hand share an error in its apparent size, and so in its distance. Uncertain landmarks
# appear too small: the mean of the plausible hands is smaller than each. By mean score, from synthetic clips.
_SIZE_SIGMA, _SURE, _SIGMA_OF_DOUBT = 0.015, 0.65, 0.05
_BIASED_BELOW, _BIAS_OF_DOUBT, _DOUBT_FRAMES = 0.80, 0.15, 6
# Scores over so many frame times to either side are compared to those over so many; both within the context of a range
# that is solved again, which would come out differently otherwise.
_NEAR_FRAMES, _USUAL_FRAMES = 3, 30
# Frames farther apart than this many median frame times are not neighbours.
_LONGEST_STEP = 12.0


@dataclass(frozen=True)
class NetworkTargets:
    """The network's estimates for N hand frames; zeros where confidence (N,) is 0.

    root (N, 3, 3); angles_rad (N, 15, 3); joints_m (N, 21, 3) relative to the wrist; wrist_m (N, 3);
    from_other_m (N, 3): from the other hand's wrist to this one's.
    """

    confidence: Floats
    root: Floats
    angles_rad: Floats
    joints_m: Floats
    wrist_m: Floats
    from_other_m: Floats

    def take(self, indices: Indices) -> "NetworkTargets":
        """The hand frames of the given indices."""
        return NetworkTargets(*(getattr(self, field.name)[indices] for field in fields(self)))


@dataclass(frozen=True)
class Observations:
    """N hand frames.

    side, frame (N,) int64; time (N,) in median frame times; K (N, 3, 3); pixels (N, 21, 2), score (N, 21),
    zero if not seen; diagonal_px (N,) of the landmarks' box; world_m (N, 21, 3) centred, rotated from the
    crop's line of sight into camera axes; other (N,) index of the same frame's other hand, or -1; T_world_cam
    (N, 4, 4): the camera's pose; size_error, size_sigma (N,): the share by which landmarks are expected to
    show the hand too large, and its sigma; doubt (N,): 0..1, by which share the landmarks around a frame are
    less sure than the hand's usually are.
    """

    side: Indices
    frame: Indices
    time: Floats
    K: Floats
    pixels: Floats
    score: Floats
    diagonal_px: Floats
    world_m: Floats
    other: Indices
    T_world_cam: Floats
    size_error: Floats
    size_sigma: Floats
    doubt: Floats
    network: NetworkTargets | None

    def __len__(self) -> int:
        return len(self.side)

    @property
    def seen(self) -> Flags:
        """(N,) bool: has landmarks of its own."""
        return (self.score > 0).any(-1)

    @property
    def steps(self) -> Floats:
        """(N - 1,) time from each hand frame to the next in the list; 0 if the two are not consecutive."""
        step = np.diff(self.time)
        follows = (np.diff(self.side) == 0) & (np.diff(self.frame) == 1) & (step < _LONGEST_STEP)
        return np.where(follows, step, 0.0)

    @cached_property
    def camera_steps(self) -> Floats | None:
        """(N - 1, 4, 4) from the camera of each hand frame to that of the next; None for a static camera."""
        poses = self.T_world_cam
        if len(poses) < 2 or (poses == poses[:1]).all():
            return None
        return np.linalg.inv(poses[1:]) @ poses[:-1]

    def take(self, indices: Indices) -> "Observations":
        """The hand frames of the given indices, without their links to the other hand."""
        chosen = {
            field.name: getattr(self, field.name)[indices]
            for field in fields(self)
            if field.name not in ("network", "other")
        }
        network = None if self.network is None else self.network.take(indices)
        return replace(self, **chosen, other=np.full_like(indices, -1), network=network)

    def of_frames(self, chosen: Flags) -> "Observations":
        """The chosen (N,) hand frames, both or neither of a frame, with their links to the other hand."""
        at = np.flatnonzero(chosen)
        place = np.full(len(self) + 1, -1)
        place[at] = np.arange(len(at))
        return replace(self.take(at), other=place[self.other[at]])


def pairs(seen: Observations) -> tuple[Indices, Indices]:
    """Indices of the left hand frames that have a right one in the same frame, and of those."""
    left = np.flatnonzero((seen.side == 0) & (seen.other >= 0))
    return left, seen.other[left]


def usable_presence(tracks: HandTracks, network: TwoHandPredictions | None) -> NDArray[np.uint8]:
    """(T, S) the tracks' presence, as far as the solve can provide it.

    A hand that only the network is confident of counts as filled; a filled stretch without landmarks or
    network estimates counts as absent.
    """
    present = tracks.present
    landmarks = (
        np.nan_to_num(tracks.landmarks_px[..., 2]) * np.isfinite(tracks.world_m).all((-1, -2))[..., None]
    )
    held = (present == SEEN) & (landmarks > 0).any(-1)
    if network is not None:
        before, after = frames_to_known(present == SEEN)
        near = (np.maximum(before, after) <= REMEMBERED_FRAMES) | (
            np.minimum(before, after) <= _OPEN_END_FRAMES
        )
        least = np.where(near, _CONFIDENCE_NEAR, _NETWORK_CONFIDENCE)
        sure = (network.presence > _NETWORK_PRESENCE) & (network.confidence > least)
        present = np.where((present == ABSENT) & sure, np.uint8(FILLED), present)
        held |= (network.confidence > 0) & (present != ABSENT)
    present = np.where(held | (present == ABSENT), present, np.uint8(FILLED))
    return _without_unheld_runs(present, held)


def _without_unheld_runs(present: NDArray[np.uint8], held: NDArray[np.bool_]) -> NDArray[np.uint8]:
    present = present.copy()
    for side in range(present.shape[1]):
        there = np.concatenate([[False], present[:, side] != ABSENT, [False]])
        edges = np.flatnonzero(there[1:] != there[:-1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if not held[start:stop, side].any():
                present[start:stop, side] = ABSENT
    return present


def gather(
    tracks: HandTracks,
    network: TwoHandPredictions | None,
    present: NDArray[np.uint8],
    camera: Camera,
    times: NDArray[np.float64],
    axes: Floats,
    frames: range,
) -> Observations:
    """The observations of a range of frames.

    times (T,): in median frame times. axes (S, 15, 3, 3): the joints' axes, for the network's rotations.
    """
    side, frame = np.nonzero(present[frames.start : frames.stop].T)
    frame = frame + frames.start
    pick = (frame, side)
    landmarks, world_m = (values[pick].astype(np.float64) for values in (tracks.landmarks_px, tracks.world_m))
    finite = np.isfinite(landmarks).all(-1) & np.isfinite(world_m).all(-1)
    pixels, world_m = np.nan_to_num(landmarks[..., :2]), np.nan_to_num(world_m)
    K = _by_frame(camera.K, frame)
    return Observations(
        side=side,
        frame=frame,
        time=times[frame],
        K=K,
        pixels=pixels,
        score=np.where(finite, np.nan_to_num(landmarks[..., 2]).clip(0, 1), 0.0),
        diagonal_px=np.maximum(lengths(pixels.max(1) - pixels.min(1)), 8.0),
        world_m=_seen_along_ray(world_m, pixels, K),
        other=_other_hands(side, frame),
        T_world_cam=_by_frame(camera.T_world_cam, frame),
        size_error=np.zeros(len(frame)),
        size_sigma=np.full(len(frame), _SIZE_SIGMA),
        doubt=np.zeros(len(frame)),
        network=None if network is None else _network_targets(network, pick, axes),
    )


def judged_by_scores(seen: Observations) -> Observations:
    """The observations with the size errors and the doubt implied by the landmarks' scores."""
    score = seen.score.mean(-1)
    sigma = _SIZE_SIGMA + _SIGMA_OF_DOUBT * (_SURE - score).clip(min=0)
    too_small = _BIAS_OF_DOUBT * (_BIASED_BELOW - _around(seen, score, _DOUBT_FRAMES)).clip(min=0)
    near, usual = _around(seen, score, _NEAR_FRAMES), _around(seen, score, _USUAL_FRAMES)
    doubt = np.where(seen.seen, 1 - near / usual.clip(min=1e-6), 0.0).clip(min=0)
    return replace(seen, size_sigma=sigma, size_error=np.where(seen.seen, -too_small, 0.0), doubt=doubt)


def _around(seen: Observations, score: Floats, reach: float) -> Floats:
    """(N,) mean scores of the seen frames at most this many frame times from each, because the
    uncertainty is the hand's rather than the frame's.
    """
    out = np.zeros_like(score)
    for side in (0, 1):
        own = seen.side == side
        time, known = seen.time[own], seen.seen[own].astype(np.float64)
        first, last = np.searchsorted(time, time - reach), np.searchsorted(time, time + reach, side="right")
        total, count = (np.concatenate([[0.0], values.cumsum()]) for values in (known * score[own], known))
        out[own] = (total[last] - total[first]) / (count[last] - count[first]).clip(min=1)
    return out


def _by_frame(matrices: NDArray[np.floating], frame: Indices) -> Floats:
    """(N, R, R) the matrix of each frame, of one (R, R) for all or one for each (T, R, R)."""
    matrices = np.asarray(matrices, np.float64)
    return np.broadcast_to(matrices, (len(frame), *matrices.shape)) if matrices.ndim == 2 else matrices[frame]


def _other_hands(side: Indices, frame: Indices) -> Indices:
    """(N,) index of the hand frame with the same frame and the other side, -1 where there is none."""
    index = np.full((2, frame.max(initial=0) + 1), -1)
    index[side, frame] = np.arange(len(frame))
    return index[1 - side, frame]


def _seen_along_ray(world_m: Floats, pixels: Floats, K: Floats) -> Floats:
    """World landmarks (N, 21, 3), centred and rotated from the line of sight through the hand to camera axes.

    The landmark network sees a crop as a camera pointed at the hand would; away from the picture's centre its z axis
    is therefore the ray's, not the camera's.
    """
    centred = world_m - means(world_m)
    ray = pixel_rays(means(pixels), K)[:, 0]
    return centred @ np.swapaxes(turn_to_ray(ray), -1, -2)


def _network_targets(
    network: TwoHandPredictions, pick: tuple[Indices, Indices], axes: Floats
) -> NetworkTargets:
    def picked(values: NDArray[np.float32]) -> Floats:
        return np.nan_to_num(values[pick].astype(np.float64))

    frame, side = pick
    usable = [
        np.isfinite(values[pick]).all(axis=tuple(range(1, values.ndim - 1)))
        for values in (network.rotations, network.wrist_cam_m, network.joints_rel_m)
    ]
    confidence = picked(network.confidence).clip(0, 1) * np.logical_and.reduce(usable)
    rotations = picked(network.rotations)
    rotations[confidence == 0] = np.eye(3)
    local = np.swapaxes(axes, -1, -2)[side] @ rotations[:, 1:] @ axes[side]
    return NetworkTargets(
        confidence=confidence,
        root=rotations[:, 0],
        angles_rad=log(local),
        joints_m=picked(network.joints_rel_m),
        wrist_m=picked(network.wrist_cam_m),
        from_other_m=np.where(side == 1, 1.0, -1.0)[:, None]
        * np.nan_to_num(network.offset_m[frame].astype(np.float64)),
    )
