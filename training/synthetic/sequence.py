# SPDX-License-Identifier: GPL-3.0-or-later
"""Short clips of two hands in motion, with the truth of every frame.

Hands touch throughout (touching.motion), or pose, approach, touch and part on smooth curves between keys. A smooth
bound keeps the left hand outside the current contact with the right one, so that hands never pass through each other.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import exp, slerp
from inference_core.hand_model.hand import PosedHands
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic import labels
from training.synthetic.background import cut_backgrounds
from training.synthetic.curves import smooth_upper_bound, through_keys, turns_through_keys
from training.synthetic.generate import Kit, Scene, as_bytes, assembled, draw, load_kit
from training.synthetic.lens import draw_lens
from training.synthetic.meshes import with_forearms
from training.synthetic.pairs import approach, meeting_turn, natural_turns
from training.synthetic.poses import within
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.shading import draw_lights
from training.synthetic.skin import draw_appearance
from training.synthetic.spheres import first_contact, gap, sphere_centres
from training.synthetic.things import no_things
from training.synthetic.touching.body import OWN_EYES
from training.synthetic.touching.motion import touching_motion
from training.synthetic.two_hands import draw_angles_rad, draw_betas
from training.synthetic.view import pinhole

_KEY_EVERY_S = 0.8
_SHUTTER = 0.5  # share of the frame's time for which the shutter is open
_ENVELOPE_S = 0.26
_CHUNK = 8
# The share of clips of touching hands in which they touch throughout.
_TOUCHING_SHARE = 0.8


@dataclass(frozen=True)
class Motion:
    """The motion of two hands, independent of a camera. T times, S sides.

    angles_rad (T, S, 15, 3); turns (T, S, 3, 3) of the wrists; bend (T, S, 3, 3) of the forearms; direction, shift_m
    (T, 3) and distance_m (T,): the left hand is `distance_m` beyond contact along the direction, shifted across it;
    leave_m (T, S, 3): added to the hands' positions; centre_m (T, 3): the pair's position.
    """

    angles_rad: Tensor
    turns: Tensor
    bend: Tensor
    direction: Tensor
    shift_m: Tensor
    distance_m: Tensor
    leave_m: Tensor
    centre_m: Tensor


@dataclass(frozen=True)
class SyntheticClip:
    """T frames of H x W pixels with their truth; fields as in SyntheticBatch, uv replaced by pixels.

    frames (T, 3, H, W) uint8 RGB; time_s (T,); K (3, 3); betas (S, 10); present (T, S): some joint is in the picture.
    """

    frames: Tensor
    time_s: Tensor
    K: Tensor
    betas: Tensor
    present: Tensor
    rotations: Tensor
    wrist_cam_m: Tensor
    joints_cam_m: Tensor
    landmarks_cam_m: Tensor
    joints_px: Tensor
    visibility: Tensor
    gap_m: Tensor


def generate_sequence(
    seed: int,
    frames: int,
    fps: float = 25.0,
    device: torch.device | str = "cpu",
    size_px: tuple[int, int] = (640, 360),
    subframes: int = 3,
    settings: Settings | None = None,
) -> SyntheticClip:
    """A clip, different for every seed: two hands that approach, touch and part repeatedly.

    subframes: pictures averaged for one frame, over half the frame's time, for real motion blur.
    """
    settings = settings or Settings()
    device = torch.device(device)
    with torch.no_grad():
        random = Randomness(seed, torch.zeros(1, dtype=torch.int64))
        kit = load_kit(device)
        time_s = torch.arange(frames) / fps
        open_s = (torch.arange(subframes) - (subframes - 1) / 2) / subframes * _SHUTTER / fps
        all_times_s = (time_s[:, None] + open_s).flatten()
        betas = draw_betas(random)
        fov_deg = random.uniform("fov", low=42, high=68)
        focal_px = size_px[0] / 2 / torch.tan(torch.deg2rad(fov_deg) / 2)
        K = pinhole(focal_px, torch.tensor([[size_px[0] / 2, size_px[1] / 2]]))[0]
        if bool(random.chance("touches all along", _TOUCHING_SHARE * settings.touching)):
            posed, bend, gap_m = _touching(random, kit, betas.to(device), all_times_s)
        else:
            motion = draw_motion(random, all_times_s, kit, settings)
            posed, gap_m = posed_motion(kit, motion, betas[0], fps * subframes)
            bend = motion.bend
        return render_motion(random, kit, posed, bend, gap_m, K, time_s, size_px, settings)


def _touching(
    random: Randomness, kit: Kit, betas: Tensor, time_s: Tensor
) -> tuple[PosedHands, Tensor, Tensor]:
    """Hands that touch throughout, in the camera: posed at times (T,), with the forearms' bend and the gap."""
    pair = touching_motion(random, kit.model, kit.spheres, betas, time_s - time_s[0])
    rotations = pair.rotations(kit.model)
    near = bool(pair.view[0] == OWN_EYES)
    depth_m = random.uniform("depth", low=0.28 if near else 0.45, high=0.45 if near else 0.85)
    at_m = torch.cat([random.normal("centre", 2, std=0.03)[0], depth_m]).to(betas)
    shaped = kit.model.with_shape(betas.expand(len(time_s), -1, -1))
    posed = shaped.with_pose(rotations, pair.wrist_m)
    middle_m = posed.joints21_m.mean((0, 1, 2))
    return shaped.with_pose(rotations, pair.wrist_m + at_m - middle_m), pair.bend, pair.gap_m


def draw_motion(random: Randomness, time_s: Tensor, kit: Kit, settings: Settings) -> Motion:
    """A motion over the given times: a meeting every few keys, with the hands apart in between."""
    duration_s = float(time_s[-1])
    count = max(3, round(duration_s / _KEY_EVERY_S) + 1)
    pauses = 1 + random.uniform("key times", count - 1, low=-0.25, high=0.25)[0]
    key_s = torch.cat([torch.zeros(1), pauses.cumsum(0)]) * duration_s / float(pauses.sum())
    keys = Randomness(random.seed, random.index.repeat(count) * 4096 + torch.arange(count))
    every = Randomness(random.seed, random.index.repeat(count))

    view = random.choice("view", (0.45, 0.45, 0.1)).repeat(count)
    natural = exp(keys.normal("turn", 2, 3, std=0.22)) @ natural_turns(every, view)
    met = meeting_turn(every, natural[:, RIGHT])
    nearness = _nearness(random, count)
    angles = draw_angles_rad(keys, kit.model, settings)
    left = slerp(natural[:, LEFT], met.turn, nearness)
    direction, shift_m, _ = approach(every, view, torch.zeros(count, dtype=torch.bool), met)
    weight = nearness[:, None]
    away_m = keys.uniform("key distance", low=0.05, high=0.2) * (1 - nearness)

    turns = torch.stack([left, natural[:, RIGHT]], 1)
    centre_m = torch.tensor([0.0, 0.03, 0.0]) + keys.normal("centre", 3) * torch.tensor([0.03, 0.02, 0.03])
    centre_m[:, 2] += random.uniform("depth", low=0.48, high=0.85)
    return Motion(
        angles_rad=within(through_keys(key_s, angles, time_s), kit.model.joint_limits_rad.cpu()),
        turns=turns_through_keys(key_s, turns, time_s),
        bend=exp(through_keys(key_s, keys.normal("bend", 2, 3) * torch.tensor([0.2, 0.1, 0.15]), time_s)),
        direction=F.normalize(
            through_keys(key_s, torch.lerp(direction, met.approach, weight), time_s), dim=-1
        ),
        shift_m=through_keys(key_s, torch.lerp(shift_m, met.shift_m, weight), time_s),
        distance_m=through_keys(key_s, away_m, time_s),
        leave_m=through_keys(key_s, _leaving(random, view, count), time_s),
        centre_m=through_keys(key_s, centre_m, time_s),
    )


def posed_motion(kit: Kit, motion: Motion, betas: Tensor, rate_hz: float) -> tuple[PosedHands, Tensor]:
    """The hands in the camera, never inside each other, and the gap between them (T,).

    betas (S, 10); rate_hz: number of the motion's times per second.
    """
    device = kit.mesh.faces.device
    motion = Motion(**{name: value.to(device) for name, value in vars(motion).items()})
    shaped = kit.model.with_shape(betas.to(device).expand(len(motion.turns), -1, -1))
    fingers = kit.model.rotations_from_angles(motion.angles_rad)
    rotations = torch.cat([motion.turns[:, :, None], fingers], 2)
    centres = sphere_centres(kit.spheres, shaped.with_pose(rotations, torch.zeros_like(motion.leave_m)))
    to_middle_m = centres.mean(2)
    centres = centres - to_middle_m[:, :, None]
    direction = motion.direction
    shift_m = motion.shift_m - (motion.shift_m * direction).sum(-1, keepdim=True) * direction
    moved = torch.stack([centres[:, LEFT] + shift_m[:, None], centres[:, RIGHT]], 1)
    contact_m = first_contact(moved, kit.spheres.radius_m, direction).clamp(min=-0.03)
    way_m = smooth_upper_bound(contact_m, max(1, round(_ENVELOPE_S * rate_hz))) + motion.distance_m
    offset_m = shift_m + direction * way_m[:, None]
    middle_m = motion.centre_m[:, None] + motion.leave_m
    middle_m = middle_m + torch.stack([offset_m / 2, -offset_m / 2], 1)
    gap_m = gap(centres + middle_m[:, :, None], kit.spheres.radius_m)
    return shaped.with_pose(rotations, middle_m - to_middle_m), gap_m


def render_motion(
    random: Randomness,
    kit: Kit,
    posed: PosedHands,
    bend: Tensor,
    gap_m: Tensor,
    K: Tensor,
    time_s: Tensor,
    size_px: tuple[int, int],
    settings: Settings,
) -> SyntheticClip:
    """Frames of posed hands (T * subframes, S, ...), each the average of its subframes, and their truth.

    random: one picture's, which decides appearance, light and background of the whole clip.
    """
    device = posed.rotations.device
    frames, subframes = len(time_s), len(posed.rotations) // len(time_s)
    middle = torch.arange(frames, device=device) * subframes + subframes // 2
    all_K = K.to(device).expand(len(posed.rotations), 3, 3)
    still = replace(settings, motion_blur=0.0, jpeg=0.0)
    joints_m = posed.joints21_m
    joints_px = project_pinhole(joints_m, all_K[:, None])
    inside = ((joints_px >= 0) & (joints_px < torch.tensor(size_px, device=device))).all(-1).any(-1)
    scene = _scene(kit, posed, bend.to(device), torch.ones_like(inside), gap_m, all_K)
    pictures, visibility = [], []
    background = cut_backgrounds(random, settings, device, size_px)
    for start in range(0, frames, _CHUNK):
        part = slice(start * subframes, min(start + _CHUNK, frames) * subframes)
        count = part.stop - part.start
        same = Randomness(random.seed, random.index.expand(count))
        lens = replace(draw_lens(same, still).to(device), noise_at=_moving_noise(part, subframes).to(device))
        drawn = draw(
            kit,
            scene.rows(part),
            draw_appearance(same, settings).to(device),
            draw_lights(same, settings).to(device),
            lens,
            background.expand(count, -1, -1, -1),
            settings.supersample,
        )
        pictures.append(as_bytes(drawn.image.unflatten(0, (-1, subframes)).mean(1)).cpu())
        visibility.append(
            labels.joint_visibility(
                drawn.keys,
                kit.mesh.part,
                kit.mesh.bone,
                joints_m[part],
                joints_px[part],
                inside[part],
                settings.supersample,
            )[subframes // 2 :: subframes]
        )
    return SyntheticClip(
        frames=torch.cat(pictures),
        time_s=time_s,
        K=K,
        betas=posed.shaped.betas[0],
        present=inside[middle],
        rotations=posed.rotations[middle],
        wrist_cam_m=posed.joints16_m[middle, :, 0],
        joints_cam_m=joints_m[middle],
        landmarks_cam_m=posed.landmarks21_m[middle],
        joints_px=joints_px[middle],
        visibility=torch.cat(visibility),
        gap_m=gap_m[middle],
    )


def _scene(kit: Kit, posed: PosedHands, bend: Tensor, present: Tensor, gap_m: Tensor, K: Tensor) -> Scene:
    things_m, there = no_things(kit.mesh, len(present))
    return assembled(kit, posed, present, gap_m, with_forearms(kit.mesh, posed, bend), things_m, there, K)


def _moving_noise(part: slice, subframes: int) -> Tensor:
    """(N, 2) positions of the subframes in the noise field, different for every frame."""
    frame = torch.arange(part.start, part.stop) // subframes
    return torch.stack([frame * 197 % 512, frame * 331 % 512], -1)


def _nearness(random: Randomness, count: int) -> Tensor:
    """(K,) of the keys, from 0 apart to 1 met; the first and the last are apart."""
    drawn = random.uniform("nearness", count, low=0.5, high=1.0)[0]
    kind = random.choice("near kind", (0.5, 0.2, 0.3), count)[0]
    nearness = torch.where(kind == 0, 1.0, torch.where(kind == 1, drawn, 0.0))
    nearness[count // 2] = 1.0
    nearness[0] = nearness[-1] = 0.0
    return nearness


def _leaving(random: Randomness, view: Tensor, count: int) -> Tensor:
    """(K, S, 3): in a quarter of the clips, one hand is outside the picture at the first or the last key."""
    away = torch.zeros(count, 2, 3)
    side = int(random.integers("leaving hand", 2))
    key = 0 if bool(random.chance("enters", 0.5)) else count - 1
    outward = 1.0 if (side == LEFT) != bool(view[0] == OWN_EYES) else -1.0
    if bool(random.chance("leaves", 0.25)):
        away[key, side] = torch.tensor([0.45 * outward, 0.2, 0.0])
    return away
