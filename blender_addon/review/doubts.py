# SPDX-License-Identifier: GPL-3.0-or-later
"""How good the scene's hands are as currently keyed: at a frame, and at the worst frames."""

from dataclasses import dataclass

import bpy
import numpy as np

from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, Wrist, hand_rigs, read_wrist
from ..scene.shot import belongs, cut_frames, shots
from ..scene.spans import (
    MOST_ASTRAY,
    Sightings,
    Span,
    Verdict,
    astray_at,
    uncertain_spans,
    verdict_of,
)


@dataclass(frozen=True)
class Doubt:
    """A doubtful span of a hand, and the scene frame of its worst moment."""

    rig: HandRig
    frame: int
    span: Span


def shots_in_question(context: bpy.types.Context) -> list[bpy.types.Collection]:
    """The shot that the active object belongs to; all of the scene's shots if it belongs to none."""
    found, active = shots(context.scene), context.view_layer.objects.active
    mine = [shot for shot in found if active is not None and belongs(active, shot)]
    return mine[:1] or found


def doubts(context: bpy.types.Context) -> list[Doubt]:
    """Every doubtful span of the shots in question, by the frame of its worst moment."""
    found: list[Doubt] = []
    for shot in shots_in_question(context):
        for rig in hand_rigs(shot):
            wrist = read_wrist(rig)
            if wrist is not None:
                spans = uncertain_spans(sightings(rig, wrist))
                found += [Doubt(rig, round(float(wrist.frames[span.worst])), span) for span in spans]
    return sorted(found, key=lambda doubt: (doubt.frame, doubt.rig.armature.name))


def verdict_here(rig: HandRig, frame: float) -> tuple[Verdict, float]:
    """The verdict on the hand at a scene frame, and its confidence."""
    presence = int(rig.armature.get("presence", 1))
    confidence = float(rig.armature.get("confidence", 1.0)) if presence else 0.0
    verdict = verdict_of(confidence, presence)
    wrist = read_wrist(rig, frame, MOST_ASTRAY + 2) if presence else None
    if wrist is None or not len(wrist.frames):
        return verdict, confidence
    return astray_at(sightings(rig, wrist), int(np.abs(wrist.frames - frame).argmin())) or verdict, confidence


def sightings(rig: HandRig, wrist: Wrist) -> Sightings:
    """The wrist's frames as input for the verdicts."""
    distance_m = _distance_m(rig, wrist.location)
    piece = np.searchsorted(cut_frames(rig.shot), wrist.frames)
    return Sightings(wrist.confidence, wrist.present, distance_m, wrist.rotation_wxyz, piece)


def _distance_m(rig: HandRig, location: Floats) -> Floats:
    """Distances (K,) of the wrist's locations (K, 3) from the shot's camera at its current place."""
    rest = np.array(rig.armature.data.bones[rig.names[0]].matrix_local, np.float64)
    places = location @ rest[:3, :3].T + rest[:3, 3]
    camera = rig.shot.duohand.camera
    eye = np.zeros(3)
    if camera is not None:
        eye = np.array(rig.armature.matrix_world.inverted_safe() @ camera.matrix_world.translation)
    return np.linalg.norm(places - eye, axis=-1) / rig.shot.duohand.scale
