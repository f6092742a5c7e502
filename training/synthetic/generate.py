# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic pictures of two hands, from a seed to a batch: the whole path in one file.

The same code runs on the CPU and on a GPU. Random numbers are drawn on the CPU from the seed and the picture's number
alone, so that picture k of a stream is the same on every device and in every batch.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.projection import project_pinhole
from inference_core.hand_model.hand import HandModel, PosedHands
from inference_core.hand_model.load import load_open_hand
from training.synthetic import labels
from training.synthetic.background import cut_backgrounds
from training.synthetic.batch import SyntheticBatch, concatenated
from training.synthetic.lens import Lens, compressed, contact_shade, displayed, draw_lens, exposed, moved
from training.synthetic.meshes import (
    PART_LEFT_ARM,
    SceneMesh,
    load_scene_mesh,
    vertex_normals,
    with_forearms,
)
from training.synthetic.randomness import Randomness
from training.synthetic.raster import rasterise
from training.synthetic.settings import Settings
from training.synthetic.shading import Lights, draw_lights, draw_shadow_map, shade
from training.synthetic.skin import Appearance, draw_appearance
from training.synthetic.skin_atlas import SkinAtlas, draw_skin_atlas
from training.synthetic.spheres import Spheres, fit_spheres
from training.synthetic.surface import choose_samples, gathered, interpolate_surface
from training.synthetic.things import place_loose, things_vertices
from training.synthetic.touching.parts import touched_parts
from training.synthetic.two_hands import draw_two_hands
from training.synthetic.view import choose_view, screen_points

# Hands farther apart than this, by their spheres, touch nowhere.
_NEAR_M = 0.02


@dataclass(frozen=True)
class Kit:
    """What all pictures have in common, on one device."""

    model: HandModel
    mesh: SceneMesh
    skin: SkinAtlas
    spheres: Spheres


@dataclass(frozen=True)
class Scene:
    """The geometry of B pictures before lighting; fields as in SyntheticBatch.

    vertices_m (B, V, 3): of the whole mesh, in the camera; shown (B, V): those that exist. touched (B, S, P).
    """

    posed: PosedHands
    present: Tensor
    gap_m: Tensor
    touched: Tensor
    vertices_m: Tensor
    shown: Tensor
    K: Tensor

    def rows(self, part: slice) -> "Scene":
        """Some of the pictures; their hands, already contained in vertices_m, stay the same."""
        chosen = {name: value[part] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **chosen)


def generate(
    seed: int,
    batch: int,
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
    index: int = 0,
) -> SyntheticBatch:
    """`batch` pictures of the stream `seed`, numbers index .. index + batch - 1."""
    settings = settings or Settings()
    device = torch.device(device)
    parts = []
    # In a caller's mixed precision, positions would be rounded to millimetres.
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        for start in range(index, index + batch, settings.chunk):
            numbers = torch.arange(start, min(start + settings.chunk, index + batch))
            parts.append(_generate_chunk(Randomness(seed, numbers), device, settings))
        return concatenated(parts)


@lru_cache(maxsize=4)
def load_kit(device: torch.device) -> Kit:
    """Hand, forearms, skin and collision spheres on a device; cached."""
    model = load_open_hand().tensors()
    return Kit(
        model=model.tensors(device=device),
        mesh=load_scene_mesh().to(device),
        skin=draw_skin_atlas(model).to(device),
        spheres=fit_spheres(model).to(device),
    )


def _generate_chunk(random: Randomness, device: torch.device, settings: Settings) -> SyntheticBatch:
    kit = load_kit(device)
    appearance = draw_appearance(random, settings).to(device)
    lights = draw_lights(random, settings).to(device)
    lens = draw_lens(random, settings).to(device)
    scene = build_scene(random, kit, settings)
    size_px = (settings.size_px, settings.size_px)
    background = cut_backgrounds(random, settings, device, size_px)
    drawn = draw(kit, scene, appearance, lights, lens, background, settings.supersample)
    return _labelled(random, kit, scene, drawn, settings)


def build_scene(random: Randomness, kit: Kit, settings: Settings) -> Scene:
    """Two hands in their poses and places, with forearms and things, seen from some viewpoint."""
    device = kit.mesh.faces.device
    there = _presence(random, settings)
    present = there.to(device)
    hands = draw_two_hands(random, kit.model, kit.spheres, there, settings, device)
    posed = hands.posed(torch.zeros(random.batch, 3, device=device))
    view = choose_view(random, posed.vertices_m, present, hands.view, settings)
    posed = hands.posed(view.shift_m)
    arms_m = with_forearms(kit.mesh, posed, hands.bend)
    held = hands.grips.in_camera(posed)
    held_there = hands.grips.holds & hands.grips.clear_of_other(held, posed, kit.spheres, present)
    loose_there = random.chance("loose thing", settings.loose_thing).to(device)
    things_m = things_vertices(kit.mesh, held, place_loose(random, posed))
    things_there = torch.stack([held_there, loose_there], 1)
    return assembled(kit, posed, present, hands.gap_m, arms_m, things_m, things_there, view.K)


def assembled(
    kit: Kit,
    posed: PosedHands,
    present: Tensor,
    gap_m: Tensor,
    arms_m: Tensor,
    things_m: Tensor,
    things_there: Tensor,
    K: Tensor,
) -> Scene:
    """The scene of hands with arms (B, S, A, 3) and those of the things (B, THINGS, G, 3) named by things_there."""
    arms_shown = present.repeat_interleave(arms_m.shape[2], 1)
    things_shown = things_there.repeat_interleave(things_m.shape[2], 1)
    return Scene(
        posed=posed,
        present=present,
        gap_m=gap_m,
        touched=touched_parts(kit.mesh, arms_m, gap_m < _NEAR_M),
        vertices_m=torch.cat([arms_m.flatten(1, 2), things_m.flatten(1, 2)], 1),
        shown=torch.cat([arms_shown, things_shown], 1),
        K=K,
    )


@dataclass(frozen=True)
class Drawn:
    """A rendered batch before labelling.

    image (B, 3, H, W) display values 0..1; keys: the raster; dense (B, 3, H, W): position on the rest hand.
    """

    image: Tensor
    keys: Tensor
    dense: Tensor


def draw(
    kit: Kit,
    scene: Scene,
    appearance: Appearance,
    lights: Lights,
    lens: Lens,
    background: Tensor,
    supersample: int,
) -> Drawn:
    """The pictures of a scene over backgrounds (B, 3, H, W)."""
    mesh, k = kit.mesh, supersample
    height, width = background.shape[-2:]
    normals = vertex_normals(scene.vertices_m, mesh.faces, mesh.neighbours)
    vertices_m = scene.vertices_m + sleeve_swell(mesh, appearance, normals)
    vertices_m = torch.where(scene.shown[..., None], vertices_m, vertices_m.new_tensor([0.0, 0.0, -1.0]))
    screen = screen_points(vertices_m, scene.K)
    screen = torch.cat([screen[..., :2] * k, screen[..., 2:]], -1)
    keys = rasterise(screen, mesh.faces, height * k, width * k)
    samples = choose_samples(keys, mesh.part, k)
    surface = interpolate_surface(
        samples, mesh.faces, mesh.part, screen, vertices_m, normals, mesh.rest_m, mesh.rest_normal
    )
    shadow = draw_shadow_map(lights, vertices_m, mesh.faces, scene.shown, mesh.is_hand)
    light = shade(surface, appearance, lights, shadow, kit.skin)
    dense = labels.dense_map(surface.rest_m, surface.part < PART_LEFT_ARM)
    layers = gathered(samples, torch.cat([displayed(light), surface.place_m[2:], dense]))
    layer = contact_shade(layers[:, [0, 1, 2, 7]], layers[:, 3:4], lens.shade)
    layer = moved(layer, lens)
    image = layer[:, :3] + background * (1 - layer[:, 3:])
    image = compressed(exposed(image, lens), lens).clamp(0, 1)
    return Drawn(image, keys, layers[:, 4:7])


def as_bytes(image: Tensor) -> Tensor:
    """uint8 of values 0..1."""
    return (image * 255).round().to(torch.uint8)


def _labelled(random: Randomness, kit: Kit, scene: Scene, drawn: Drawn, settings: Settings) -> SyntheticBatch:
    posed, K, present = scene.posed, scene.K, scene.present
    size, k = settings.size_px, settings.supersample
    joints_m, landmarks_m = posed.joints21_m, posed.landmarks21_m
    joints_px = project_pinhole(joints_m, K[:, None])
    joints_uv = joints_px * (2 / size) - 1
    wrist_m = joints_m[:, :, 0]
    return SyntheticBatch(
        image=as_bytes(drawn.image),
        index=random.index.to(K.device),
        K=K,
        present=present,
        rotations=posed.rotations,
        betas=posed.shaped.betas,
        wrist_cam_m=wrist_m,
        offset_m=wrist_m[:, 1] - wrist_m[:, 0],
        joints_cam_m=joints_m,
        landmarks_cam_m=landmarks_m,
        joints_uv=joints_uv,
        landmarks_uv=project_pinhole(landmarks_m, K[:, None]) * (2 / size) - 1,
        side_mask=labels.side_mask(labels.part_map(drawn.keys, kit.mesh.part, k)),
        dense=as_bytes(F.avg_pool2d(drawn.dense, 4)),
        visibility=labels.joint_visibility(
            drawn.keys, kit.mesh.part, kit.mesh.bone, joints_m, joints_px, present, k
        ),
        truncated=(joints_uv.abs() > 1).any(-1).float().mean(-1) * present,
        gap_m=scene.gap_m,
        touched=scene.touched,
        overlap=labels.box_overlap(joints_uv, present),
        vertices_cam_m=posed.vertices_m if settings.vertices else None,
    )


def _presence(random: Randomness, settings: Settings) -> Tensor:
    """(B, S) bool: both hands, one, or none."""
    both = 1 - settings.one_hand - settings.no_hand
    kind = random.choice("presence", (both, settings.one_hand / 2, settings.one_hand / 2, settings.no_hand))
    return torch.stack([(kind == 0) | (kind == 1), (kind == 0) | (kind == 2)], 1)


def sleeve_swell(mesh: SceneMesh, appearance: Appearance, normals: Tensor) -> Tensor:
    """(B, V, 3) the cloth's distance from the arm: it grows over the first centimetre of the sleeve."""
    along_m = mesh.rest_m[: mesh.arm_count, 0]
    rise = ((along_m - appearance.sleeve_from_m[..., None]) / 0.008).clamp(0, 1)
    swell = (rise * appearance.sleeve_swell_m[..., None]).flatten(1)
    things = normals.shape[1] - swell.shape[1]
    return normals * F.pad(swell, (0, things))[..., None]
