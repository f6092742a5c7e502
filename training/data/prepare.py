# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares published InterHand2.6M or Re:InterHand for training: crops of both hands, masks, dense maps, one table.

    python -m training convert data-set RAW_FOLDER MANO_FOLDER OUT_FOLDER --split test

Crops follow the preparation that DIR's data came from: a square around both hands' vertices, 1 / 0.8 of their box,
from images that are not black.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from inference_core.geometry.mirror import mirror
from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.skeleton import LEFT
from training.data.item import CROP_PX, DamagedItemError, read_picture, square_crop
from training.data.prepared import PreparedHands
from training.data.raw_entry import RawEntry
from training.data.raw_interhand import interhand_entries
from training.data.re_interhand import is_re_interhand, re_interhand_entries

# Pictures darker than this mean are failed exposures.
DARKEST_MEAN = 10


@dataclass(frozen=True)
class CameraHands:
    """Both hands of one picture in its camera: rotation_vectors (S, 16, 3), betas (S, 10), wrist (S, 3), vertices."""

    rotation_vectors: NDArray[np.float32]
    betas: NDArray[np.float32]
    wrist_cam_m: NDArray[np.float32]
    vertices_cam_m: NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("raw", type=Path, help="folder of InterHand2.6M or Re:InterHand as downloaded")
    parser.add_argument("mano", type=Path, help="folder of MANO's own files")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--split",
        choices=("train", "val", "test"),
        default="test",
        help="part of the data set (default: test)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    hand = load_hand_model(options.mano).tensors()
    count, skipped = prepare(options.raw, options.split, hand, options.out)
    print(f"{count} samples in {options.out / options.split}; {len(skipped)} pictures skipped.")


def prepare(raw: Path, split: str, hand: HandModel, out: Path) -> tuple[int, list[str]]:
    """The number of samples written, and a message for each skipped picture.

    Existing pictures are not made again. Raises DataSetError naming the first missing piece.
    """
    entries = raw_entries(raw, split)
    folder = out / split
    for piece in ("img", "mask", "dense"):
        (folder / piece).mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Any]] = {}
    skipped: list[str] = []
    colours = rest_colours(hand)
    for number, entry in enumerate(tqdm(entries, unit="picture", disable=None)):
        try:
            row = _prepare_one(entry, hand, colours, folder, f"{number}")
        except DamagedItemError as error:
            skipped.append(str(error))
            continue
        if row is None:
            skipped.append(f"{entry.picture}: too dark.")
            continue
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    table = folder / PreparedHands.TABLE
    part = table.with_name("part.npz")
    np.savez(part, **{name: np.stack(values) for name, values in rows.items()})
    part.replace(table)
    return len(rows.get("names", [])), skipped


def raw_entries(raw: Path, split: str) -> list[RawEntry]:
    """The entries of a published data set's folder. Raises DataSetError naming the first missing piece."""
    return list((re_interhand_entries if is_re_interhand(raw) else interhand_entries)(raw, split))


def hands_in_camera(entry: RawEntry, hand: HandModel) -> CameraHands:
    """MANO's world hands in the picture's camera; the fits' fingers are relative to the mean hand."""
    fits = entry.read_fits()
    pose, betas, trans = (
        torch.tensor([fit[key] for fit in fits], dtype=torch.float32) for key in ("pose", "shape", "trans")
    )
    turn, shift = torch.from_numpy(entry.turn), torch.from_numpy(entry.shift_m)
    fingers = (pose[:, 3:] + hand.hands_mean).reshape(2, 15, 3)
    root = turn @ exp(pose[:, :3])
    shaped = hand.with_shape(betas)
    wrist = (shaped.rest_joints_m[:, 0] + trans) @ turn.mT + shift
    posed = shaped.with_pose(torch.cat([root[:, None], exp(fingers)], dim=1), wrist)
    vectors = [cv2.Rodrigues(matrix.double().numpy())[0][:, 0] for matrix in root]
    return CameraHands(
        rotation_vectors=np.concatenate([np.stack(vectors)[:, None], fingers.numpy()], axis=1).astype(
            np.float32
        ),
        betas=betas.numpy(),
        wrist_cam_m=wrist.numpy(),
        vertices_cam_m=posed.vertices_m.numpy(),
    )


def rest_colours(hand: HandModel) -> NDArray[np.float32]:
    """(S, V, 3) each vertex's position in the flat hand's box, 0..1; a left vertex has
    the colour of its mirror image.
    """
    places = hand.template_m.clone()
    places[LEFT] = mirror(places[LEFT], "point")
    low, high = places.amin(dim=1, keepdim=True), places.amax(dim=1, keepdim=True)
    return ((places - low) / (high - low)).clamp(min=0.004).numpy()


def painted(
    vertices_cam_m: NDArray[np.float32], K: NDArray[np.float32], hand: HandModel, colours: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Mask (green left, red right) and dense colour map (N, N, 3) RGB, faces painted from far to near."""
    mask, dense = (np.zeros((CROP_PX, CROP_PX, 3), np.uint8) for _ in range(2))
    pixels = vertices_cam_m @ K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    faces = hand.faces.numpy()
    depth = np.stack([vertices_cam_m[side][faces[side], 2].mean(-1) for side in (0, 1)])
    for flat in np.argsort(-depth, axis=None):
        side, face = divmod(int(flat), faces.shape[1])
        corners = np.round(pixels[side][faces[side][face]] * 16).astype(np.int32)
        shade = tuple(int(c) for c in colours[side][faces[side][face]].mean(0) * 255)
        cv2.fillConvexPoly(mask, corners, (0, 255, 0) if side == LEFT else (255, 0, 0), shift=4)
        cv2.fillConvexPoly(dense, corners, shade, shift=4)
    return mask, dense


def _prepare_one(
    entry: RawEntry, hand: HandModel, colours: NDArray[np.float32], folder: Path, name: str
) -> dict[str, Any] | None:
    image = read_picture(entry.picture)
    if image.mean() < DARKEST_MEAN:
        return None
    hands = hands_in_camera(entry, hand)
    A = square_crop(hands.vertices_cam_m, entry.K)
    K = A @ entry.K
    if not (folder / "dense" / f"{name}.png").exists():
        crop = cv2.warpAffine(image, A[:2], (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR)
        mask, dense = painted(hands.vertices_cam_m, K, hand, colours)
        cv2.imwrite(str(folder / "img" / f"{name}.jpg"), crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(folder / "mask" / f"{name}.png"), mask[..., ::-1])
        cv2.imwrite(str(folder / "dense" / f"{name}.png"), dense[..., ::-1])
    return {
        "K": K.astype(np.float32),
        "rotation_vectors": hands.rotation_vectors,
        "betas": hands.betas,
        "wrist_cam_m": hands.wrist_cam_m,
        "names": np.array(name, dtype="U12"),
    }
