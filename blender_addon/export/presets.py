# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX settings for each program. No bpy here.

All presets omit leaf bones (there would be 20 bones, not 16) and curve simplification (its default causes an
error of a third of a millimetre).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class FbxPreset:
    """Axes and units of an FBX file, as options of Blender's exporter.

    scale_options: FBX_SCALE_NONE writes centimetres and scales the objects by 100; FBX_SCALE_UNITS
    writes metres and declares them in the file's unit; FBX_SCALE_ALL does as well, for readers that also
    use the custom scale from the unit.
    """

    label: str
    description: str
    axis_forward: str
    axis_up: str
    scale_options: str
    primary_bone_axis: str = "Y"
    secondary_bone_axis: str = "X"
    smoothing: str = "FACE"


FBX_PRESETS: Final[Mapping[str, FbxPreset]] = {
    "BLENDER": FbxPreset(
        "Blender", "Imports back into Blender unchanged", "-Z", "Y", "FBX_SCALE_NONE", smoothing="OFF"
    ),
    "UNREAL": FbxPreset(
        "Unreal",
        "Unreal Engine: z up, metres stated in the file",
        "-Y",
        "Z",
        "FBX_SCALE_UNITS",
    ),
    "UNITY": FbxPreset("Unity", "Unity: y up, objects with scale 1 after import", "-Z", "Y", "FBX_SCALE_ALL"),
    "MAYA": FbxPreset(
        "Maya",
        "Maya and MotionBuilder: y up, centimetres, bones along X",
        "-Z",
        "Y",
        "FBX_SCALE_NONE",
        "X",
        "-Y",
    ),
}
