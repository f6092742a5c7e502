# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips of two hands with known motion, to evaluate the shot solve: a clip is a number, and nothing is stored."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.geometry.camera import Camera, camera_from_intrinsics
from inference_core.hand_model.hand import HandModel, PosedHands
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.generate import Kit, load_kit
from training.synthetic.randomness import Randomness
from training.synthetic.sequence import Motion, SyntheticClip, draw_motion, posed_motion, render_motion
from training.synthetic.settings import Settings
from training.synthetic.touching.motion import touching_motion
from training.synthetic.touching.pairs import TouchingPairs
from training.synthetic.touching.ways import WAYS
from training.synthetic.two_hands import draw_betas
from training.synthetic.view import pinhole

# Hands that stay apart; that approach, touch and part; that rub each other; that are held still,
# touching or apart; of which one passes close in front of the other, or far in front; that are clasped
# and knead; of which one leaves.
KINDS = ("apart", "touch", "rub", "still", "cross near", "cross far", "clasp", "leave")
FRAMES, FPS, SIZE_PX = 40, 25.0, (640, 360)
# Seeds distinct from those of training and all other evaluations; the last third
# is reserved for final results.
_SEED = 975_000_000
# Of the kept ones half touch: every kind once, and more that rub, are held still and are clasped.
CHOOSING, KEPT = tuple(range(0, 16)), (*range(16, 24), 26, 27, 30, 34, 38, 42, 46)
_CLASPS = (
    "fingers laced", "clasp", "back laced", "hand over hand", "fist wrapped", "thumb held", "fingers hooked",
)  # fmt: skip
# The hand model has no forearm, so grasped wrists cannot be evaluated with it.
_ON_HANDS = tuple(way.name for way in WAYS if "wrist" not in way.name)


@dataclass(frozen=True)
class KnownMotion:
    """T frames of two hands in front of a camera.

    posed (T, S, ...): the hands in the camera; bend (T, S, 3, 3) of the forearms; gap_m (T,) between the generator's
    spheres; present (T, S) bool: at least one joint is in the picture.
    """

    kind: str
    random: Randomness
    kit: Kit
    posed: PosedHands
    bend: torch.Tensor
    gap_m: torch.Tensor
    camera: Camera
    time_s: torch.Tensor
    present: NDArray[np.bool_]

    @property
    def joints_m(self) -> NDArray[np.float64]:
        """(T, S, 21, 3) in the camera."""
        return self.posed.joints21_m.double().numpy()

    def vertices_m(self, hand: HandModel) -> NDArray[np.float64]:
        """(T, S, V, 3) the skin."""
        shaped = hand.with_shape(self.posed.shaped.betas[0].double().numpy())
        rotations, wrist_m = self.posed.rotations, self.posed.joints16_m[:, :, 0]
        return shaped.with_pose(rotations.double().numpy(), wrist_m.double().numpy()).vertices_m

    def rendered(self) -> SyntheticClip:
        """The clip's pictures: about twenty seconds of computation."""
        K = torch.as_tensor(self.camera.K).float()
        with torch.no_grad():
            return render_motion(
                self.random,
                self.kit,
                self.posed,
                self.bend,
                self.gap_m,
                K,
                self.time_s,
                SIZE_PX,
                Settings(),
            )


def known_motion(number: int) -> KnownMotion:
    """The clip of that number; its kind is KINDS[number % 8]."""
    kind, random = KINDS[number % len(KINDS)], Randomness(_SEED + number, torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        kit, time_s = load_kit(torch.device("cpu")), torch.arange(FRAMES) / FPS
        betas = draw_betas(random)
        fov_deg = random.uniform("fov", low=42, high=68)
        focal_px = SIZE_PX[0] / 2 / torch.tan(torch.deg2rad(fov_deg) / 2)
        K = pinhole(focal_px, torch.tensor([[SIZE_PX[0] / 2, SIZE_PX[1] / 2]]))[0]
        if kind in ("rub", "still", "clasp"):
            posed, bend, gap_m = _on_each_other(random, kit, betas, time_s, kind)
        else:
            motion = _free(random, draw_motion(random, time_s, kit, Settings()), kind)
            posed, gap_m = posed_motion(kit, motion, betas[0], FPS)
            bend = motion.bend
    camera = camera_from_intrinsics(SIZE_PX, K.double().numpy())
    px = posed.joints21_m @ K.T
    px = (px[..., :2] / px[..., 2:]).numpy()
    present = ((px >= 0) & (px < SIZE_PX)).all(-1).any(-1)
    return KnownMotion(kind, random, kit, posed, bend, gap_m, camera, time_s, present)


def _free(random: Randomness, motion: Motion, kind: str) -> Motion:
    """A drawn motion, modified according to the kind."""
    still = torch.zeros_like(motion.leave_m)
    if kind == "apart":
        apart_m = random.uniform("stays off", low=0.03, high=0.12)
        return replace(motion, distance_m=motion.distance_m + apart_m, leave_m=still)
    if kind == "leave":
        return replace(motion, leave_m=_leaving(random, motion))
    if kind == "touch":
        return replace(motion, leave_m=still)
    way_m = torch.linspace(-1, 1, len(motion.turns))[:, None] * torch.tensor([0.22, 0.0, 0.0])
    in_front = 1.0 if bool(random.chance("left in front", 0.5)) else -1.0
    near = kind == "cross near"
    low, high = (0.005, 0.03) if near else (0.10, 0.25)
    return replace(
        motion,
        direction=torch.tensor([0.0, 0.0, in_front]).expand_as(motion.direction),
        shift_m=way_m,
        distance_m=random.uniform("passes at", low=low, high=high).expand_as(motion.distance_m),
        leave_m=still,
    )


def _leaving(random: Randomness, motion: Motion) -> torch.Tensor:
    """(T, S, 3): one hand leaves on its own side of the picture in the last half, and partly returns."""
    side = int(random.integers("leaving hand", 2))
    outward = float(motion.direction[:, 0].mean().sign()) * (1.0 if side == LEFT else -1.0)
    way = torch.linspace(0, 1, len(motion.turns))
    out = torch.sin((way - 0.3).clamp(min=0) / 0.7 * torch.pi * 0.75)
    leave_m = torch.zeros_like(motion.leave_m)
    leave_m[:, side] = out[:, None] * torch.tensor([0.55 * outward, 0.25, 0.0])
    return leave_m


def _on_each_other(
    random: Randomness, kit: Kit, betas: torch.Tensor, time_s: torch.Tensor, kind: str
) -> tuple[PosedHands, torch.Tensor, torch.Tensor]:
    """A pair in one of the ways of touching, moving according to the kind: posed, the forearms' bend, the gap."""
    names = _CLASPS if kind == "clasp" else _ON_HANDS
    ways = [number for number, way in enumerate(WAYS) if way.name in names]
    way = torch.tensor([ways[int(random.integers("way of the clip", len(ways)))]])
    pair = touching_motion(random, kit.model, kit.spheres, betas, time_s, way)
    apart_m = torch.zeros(())
    if kind == "still":
        pair = TouchingPairs(**{name: value[:1].expand_as(value) for name, value in vars(pair).items()})
        if bool(random.chance("still, apart", 0.5)):
            apart_m = random.uniform("stays off", low=0.05, high=0.15)[0]
    rotations = pair.rotations(kit.model)
    shaped = kit.model.with_shape(betas.expand(len(time_s), -1, -1))
    middles_m = shaped.with_pose(rotations, pair.wrist_m).joints21_m.mean(2)
    away = torch.nn.functional.normalize(middles_m[:, LEFT] - middles_m[:, RIGHT], dim=-1)
    wrist_m = torch.stack([pair.wrist_m[:, LEFT] + apart_m * away, pair.wrist_m[:, RIGHT]], 1)
    at_m = torch.cat([random.normal("centre", 2, std=0.03)[0], random.uniform("depth", low=0.4, high=0.85)])
    # A hand held still trembles by half a millimetre.
    tremble = random.normal("tremble", 3, std=0.0005)[0] if kind == "still" else torch.zeros(3)
    sway = torch.sin(2 * torch.pi * 5 * time_s)[:, None] * tremble
    return (
        shaped.with_pose(rotations, wrist_m + (at_m + sway)[:, None] - middles_m.mean((0, 1))),
        pair.bend,
        pair.gap_m + apart_m,
    )
