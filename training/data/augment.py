# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation of whole batches on their device: the paper's scale, rotation, shift,
flip, motion blur, noise and colour.

Picture and labels are transformed consistently and exactly: a map A of the picture and an orthogonal map M of
camera space take points X to M X and the pinhole K to A K M^T, so that A (K X) = (A K M^T)(M X). M is the rotation
about the optical axis contained in A and, for a flip, also the mirror x -> -x, which turns a left hand into a right
one: the sides are then swapped.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inference_core.geometry.mirror import mirror
from inference_core.two_hand.records import Conditioning
from training.data.sample import Sample, uv_from_camera


@dataclass(frozen=True)
class AugmentSettings:
    """Ranges (plus and minus) and probabilities; the paper's by default, colour is ours.

    shift_px is of a 256-pixel crop. blur: probability of motion blur of blur_px (odd, low and high) along a
    random direction. noise: standard deviation of white noise, of full scale. brightness, contrast,
    saturation, tint: spreads.
    """

    scale: float = 0.1
    rotation_deg: float = 180.0
    shift_px: float = 10.0
    flip: float = 0.5
    blur: float = 0.3
    blur_px: tuple[int, int] = (3, 15)
    noise: float = 0.01
    brightness: float = 0.1
    contrast: float = 0.2
    saturation: float = 0.3
    tint: float = 0.05


NO_AUGMENTATION = AugmentSettings(0, 0, 0, 0, 0, (3, 3), 0, 0, 0, 0, 0)
# For pictures whose camera and sensor were already varied by a generator.
LIGHT_AUGMENTATION = AugmentSettings(scale=0, rotation_deg=0, shift_px=0, flip=0, blur=0.1, blur_px=(3, 9))


def augmented(sample: Sample, settings: AugmentSettings, generator: torch.Generator) -> Sample:
    """The sample augmented by the settings."""
    if settings.scale or settings.rotation_deg or settings.shift_px or settings.flip:
        sample = moved(sample, *_random_maps(sample, settings, generator))
    return dataclasses.replace(sample, image=_recoloured(sample.image, settings, generator))


def straightened(sample: Sample) -> Sample:
    """The sample as seen by a camera rotated, without roll, to the crop's middle, which is how the predictor crops.

    The focal length is that of inference_core.two_hand.crop.crop_camera.
    """
    crop_px = sample.image.shape[-1]
    middle = sample.K.new_tensor([crop_px / 2, crop_px / 2, 1.0])
    inverse_K = _inverse(sample.K)
    ray = inverse_K @ middle
    distance = ray.norm(dim=-1)
    x, y, z = (ray / distance[:, None]).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, zero, -x, zero, zero, -y, x, y, zero], dim=-1).reshape(-1, 3, 3)
    M = torch.eye(3, device=ray.device) + cross + cross @ cross / (1 + z)[:, None, None]
    focal_px = (sample.K[:, 0, 0] * sample.K[:, 1, 1]).sqrt() * distance
    K = torch.zeros_like(sample.K)
    K[:, 0, 0] = K[:, 1, 1] = focal_px
    K[:, :, 2] = middle
    return moved(sample, K @ M @ inverse_K, M)


def moved(sample: Sample, A: Tensor, M: Tensor) -> Sample:
    """The sample under affine maps A (B, 3, 3) of the picture's pixels and orthogonal
    maps M (B, 3, 3) of camera space.

    If M is a reflection, the sides are swapped. The module's docstring relates A and M.
    """
    crop_px = sample.image.shape[-1]
    flips = torch.linalg.det(M) < 0
    # A reflection is the mirror x -> -x followed by a rotation: wrist rotations follow
    # both, fingers the mirror only.
    turn = torch.where(flips[:, None, None], M * M.new_tensor([-1.0, 1.0, 1.0]), M)
    K = A @ sample.K @ M.mT
    swap = _Swap(flips)
    rotations = swap(sample.rotations, mirror(sample.rotations, "matrix"))
    rotations = torch.cat([turn[:, None, None] @ rotations[:, :, :1], rotations[:, :, 1:]], dim=2)
    wrist = swap(sample.wrist_cam_m) @ M.mT
    joints, vertices = (
        swap(points) @ M[:, None].mT for points in (sample.joints_rel_m, sample.vertices_rel_m)
    )
    offset = torch.where(flips[:, None], -sample.offset_m, sample.offset_m)
    landmarks = None if sample.landmarks_rel_m is None else swap(sample.landmarks_rel_m) @ M[:, None].mT
    A_uv = _in_uv(A, crop_px)
    labels = _warped_labels(sample.side_mask, A_uv, flips)
    return dataclasses.replace(
        sample,
        image=_warped(sample.image, A_uv),
        K=K,
        present=swap(sample.present),
        wrist_cam_m=wrist,
        joints_rel_m=joints,
        vertices_rel_m=vertices,
        joints_uv=uv_from_camera(joints + wrist[:, :, None], K[:, None], crop_px),
        vertices_uv=uv_from_camera(vertices + wrist[:, :, None], K[:, None], crop_px),
        offset_m=(offset[:, None] @ M.mT)[:, 0],
        rotations=rotations,
        betas=swap(sample.betas),
        side_mask=labels,
        dense=None if sample.dense is None else _warped(sample.dense, A_uv),
        visibility=None if sample.visibility is None else swap(sample.visibility),
        landmarks_rel_m=landmarks,
        landmarks_uv=None if sample.landmarks_uv is None else _moved_uv(swap(sample.landmarks_uv), A_uv),
        conditioning=None
        if sample.conditioning is None
        else _moved_conditioning(sample.conditioning, swap, A_uv, M),
    )


def _moved_conditioning(conditioning: Conditioning, swap: "_Swap", A_uv: Tensor, M: Tensor) -> Conditioning:
    """The conditioning for the moved picture; missing landmarks stay zero."""
    score = swap(conditioning.landmark_score)
    return Conditioning(
        landmarks_uv=_moved_uv(swap(conditioning.landmarks_uv), A_uv) * (score > 0)[..., None],
        landmark_score=score,
        world_rel_m=swap(conditioning.world_rel_m) @ M[:, None].mT,
        hand_score=swap(conditioning.hand_score),
        side_score=swap(conditioning.side_score),
        focal_uv=conditioning.focal_uv * torch.linalg.det(A_uv[:, :2, :2]).abs().sqrt(),
    )


@dataclass(frozen=True)
class _Swap:
    """Exchanges the sides of flipped samples."""

    flips: Tensor

    def __call__(self, values: Tensor, mirrored: Tensor | None = None) -> Tensor:
        other = (values if mirrored is None else mirrored).flip(1)
        return torch.where(self.flips.reshape((-1,) + (1,) * (values.ndim - 1)), other, values)


def _random_maps(
    sample: Sample, settings: AugmentSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A (B, 3, 3) about the crop's centre, and the corresponding M (B, 3, 3)."""
    batch, crop_px, device = sample.batch, sample.image.shape[-1], sample.image.device
    draws = torch.rand(5, batch, generator=generator, device=device) * 2 - 1
    angle = draws[0] * math.radians(settings.rotation_deg)
    scale = 1 + draws[1] * settings.scale
    shift = draws[2:4].T * settings.shift_px * crop_px / 256
    flips = draws[4] * 0.5 + 0.5 < settings.flip
    M = torch.zeros(batch, 3, 3, device=device)
    M[:, 0, 0], M[:, 0, 1], M[:, 1, 0], M[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    M[:, 2, 2] = 1
    M[:, :, 0] = torch.where(flips[:, None], -M[:, :, 0], M[:, :, 0])
    A = torch.zeros_like(M)
    A[:, :2, :2] = M[:, :2, :2] * scale[:, None, None]
    centre = torch.full((2,), crop_px / 2, device=device)
    A[:, :2, 2] = centre + shift - A[:, :2, :2] @ centre
    A[:, 2, 2] = 1
    return A, M


def _in_uv(A: Tensor, crop_px: int) -> Tensor:
    """The pixel map A as a map of uv."""
    to_uv = A.new_tensor([[2 / crop_px, 0, -1], [0, 2 / crop_px, -1], [0, 0, 1]])
    to_px = A.new_tensor([[crop_px / 2, 0, crop_px / 2], [0, crop_px / 2, crop_px / 2], [0, 0, 1]])
    return to_uv @ A @ to_px


def _moved_uv(uv: Tensor, A_uv: Tensor) -> Tensor:
    return _through(uv, A_uv[:, None])


def _through(points: Tensor, A: Tensor) -> Tensor:
    """Points (..., P, 2) through homographies A (..., 3, 3)."""
    moved = points @ A[..., :2].mT + A[..., None, :, 2]
    return moved[..., :2] / moved[..., 2:]


def _warped(image: Tensor, A_uv: Tensor, mode: str = "bilinear") -> Tensor:
    """The picture transformed by A, black where it is unknown."""
    batch, _, height, width = image.shape
    u, v = ((torch.arange(n, device=image.device) + 0.5) * (2 / n) - 1 for n in (width, height))
    places = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1).reshape(1, -1, 2)
    grid = _through(places, _inverse(A_uv)).reshape(batch, height, width, 2)
    return F.grid_sample(image, grid, mode=mode, align_corners=False)


def _inverse(matrices: Tensor) -> Tensor:
    """Inverses without the check for singular matrices, which would make the CPU wait for the GPU."""
    return torch.linalg.inv_ex(matrices).inverse


def _warped_labels(labels: Tensor, A_uv: Tensor, flips: Tensor) -> Tensor:
    warped = _warped(labels[:, None].float(), A_uv, mode="nearest")[:, 0].long()
    return torch.where(flips[:, None, None] & (warped > 0), 3 - warped, warped)


def _recoloured(image: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Colour, then motion blur, then sensor noise, in their physical order."""
    batch = image.shape[0]

    def spread(size: float, *shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator, device=image.device) * size

    if settings.brightness or settings.contrast or settings.saturation or settings.tint:
        grey = image.mean(dim=1, keepdim=True)
        image = grey + (image - grey) * spread(settings.saturation, 1, 1, 1).exp()
        middle = image.mean(dim=(1, 2, 3), keepdim=True)
        image = middle + (image - middle) * spread(settings.contrast, 1, 1, 1).exp()
        image = image + spread(settings.brightness, 1, 1, 1) + spread(settings.tint, 3, 1, 1)
    if settings.blur:
        image = _motion_blurred(image, settings, generator)
    if settings.noise:
        white = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
        image = image + white * settings.noise
    return image.clamp(0, 1)


def _motion_blurred(image: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """A straight line of random length and direction as kernel, with a given probability."""
    batch, channels, height, width = image.shape
    low, high = settings.blur_px
    chosen, length, angle = torch.rand(3, batch, generator=generator, device=image.device)
    length = (low + (high - low) * length) * (chosen < settings.blur)
    side = torch.arange(high, device=image.device) - high // 2
    y, x = torch.meshgrid(side, side, indexing="ij")
    angle = (angle * math.pi)[:, None, None]
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    reach = (length / 2)[:, None, None]
    kernel = (1 - across.abs()).clamp(min=0) * (reach + 0.5 - along.abs()).clamp(0, 1)
    # A length of 0 leaves only the middle pixel: no blur.
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
    weights = kernel[:, None, None].expand(batch, channels, 1, high, high).reshape(-1, 1, high, high)
    padded = F.pad(image.reshape(1, -1, height, width), (high // 2,) * 4, mode="replicate")
    return F.conv2d(padded, weights.to(image.dtype), groups=batch * channels).reshape(image.shape)
