# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters that walk, for the tests in Blender: a Mixamo-like skeleton with a skin, Rigify's human, and a prop.

All face -Y. The walk is made up: legs and arms swing, the body goes ahead, and nothing repeats exactly.
"""

from collections.abc import Sequence

import bmesh
import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

FRAMES = range(1, 41)
_SIDES = (("Left", 1.0), ("Right", -1.0))
_FINGERS = {  # where a finger begins from the wrist, along the arm, forward (-Y) and up; its direction and length
    "Thumb": ((0.03, 0.03, -0.01), (0.7, 0.7, -0.15), 0.032),
    "Index": ((0.09, 0.025, 0.0), (1.0, 0.05, 0.0), 0.03),
    "Middle": ((0.095, 0.003, 0.0), (1.0, 0.0, 0.0), 0.033),
    "Ring": ((0.09, -0.018, 0.0), (1.0, -0.05, 0.0), 0.03),
    "Pinky": ((0.08, -0.036, 0.0), (1.0, -0.1, 0.0), 0.024),
}
_BODY = {  # name: (parent, head, tail)
    "Hips": (None, (0, 0, 0.95), (0, 0, 1.05)),
    "Spine": ("Hips", (0, 0, 1.05), (0, 0, 1.25)),
    "Spine2": ("Spine", (0, 0, 1.25), (0, 0, 1.45)),
    "Neck": ("Spine2", (0, 0, 1.45), (0, 0, 1.55)),
    "Head": ("Neck", (0, 0, 1.55), (0, 0, 1.75)),
}


def mixamo(scene: bpy.types.Scene, prefix: str = "mixamorig:", twists: int = 0) -> bpy.types.Object:
    """A skeleton with Mixamo's names and a skin of prisms, one a bone; `twists` bones beside each forearm."""
    data = bpy.data.armatures.new("Walker")
    body = bpy.data.objects.new("Walker", data)
    scene.collection.objects.link(body)
    bpy.context.view_layer.objects.active = body
    bpy.ops.object.mode_set(mode="EDIT")

    def bone(name: str, parent: str | None, head: Sequence[float], tail: Sequence[float]) -> None:
        made = data.edit_bones.new(prefix + name)
        made.head, made.tail = Vector(head), Vector(tail)
        made.parent = data.edit_bones[prefix + parent] if parent else None

    for name, (parent, head, tail) in _BODY.items():
        bone(name, parent, head, tail)
    for side, sign in _SIDES:
        x = np.array([sign, 1, 1])
        bone(f"{side}UpLeg", "Hips", x * (0.1, 0, 0.95), x * (0.1, -0.01, 0.5))
        bone(f"{side}Leg", f"{side}UpLeg", x * (0.1, -0.01, 0.5), x * (0.1, 0.02, 0.08))
        bone(f"{side}Foot", f"{side}Leg", x * (0.1, 0.02, 0.08), x * (0.1, -0.14, 0.02))
        bone(f"{side}Shoulder", "Spine2", x * (0.03, 0, 1.42), x * (0.17, 0, 1.42))
        bone(f"{side}Arm", f"{side}Shoulder", x * (0.17, 0, 1.42), x * (0.45, 0.01, 1.42))
        bone(f"{side}ForeArm", f"{side}Arm", x * (0.45, 0.01, 1.42), x * (0.71, 0, 1.42))
        wrist = np.array([0.71, 0, 1.42])
        bone(f"{side}Hand", f"{side}ForeArm", x * wrist, x * (wrist + np.array([0.08, 0, 0])))
        for k in range(twists):
            head = np.array([0.45 + 0.26 * (k + 1) / (twists + 1), 0.01, 1.42])
            bone(
                f"{side}ForeArmTwist{k + 1:02d}",
                f"{side}ForeArm",
                x * head,
                x * (head + np.array([0.05, 0, 0])),
            )
        for finger, (begin, direction, length) in _FINGERS.items():
            turned = np.array([direction[0], -direction[1], direction[2]])
            head = wrist + np.array([begin[0], -begin[1], begin[2]])
            for k in (1, 2, 3):
                tail = head + length * (1.3 - 0.2 * k) * turned / np.linalg.norm(turned)
                bone(
                    f"{side}Hand{finger}{k}",
                    f"{side}Hand" if k == 1 else f"{side}Hand{finger}{k - 1}",
                    x * head,
                    x * tail,
                )
                head = tail
    bpy.ops.object.mode_set(mode="OBJECT")
    _skin(scene, body)
    return body


def rigify(scene: bpy.types.Scene) -> bpy.types.Object:
    """Rigify's generated human with a skin of prisms over its deforming bones; arms and legs by forward kinematics."""
    bpy.ops.object.armature_human_metarig_add()
    metarig = bpy.context.object
    bpy.ops.pose.rigify_generate()
    body = bpy.context.object
    bpy.data.objects.remove(metarig)
    for bone in body.pose.bones:
        if "IK_FK" in bone:
            bone["IK_FK"] = 1.0
    _skin(scene, body)
    return body


def use_ik_arms(body: bpy.types.Object, with_poles: bool) -> None:
    """Switch Rigify's arms to IK controls that the torso carries along."""
    for side in "LR":
        settings = body.pose.bones[f"upper_arm_parent.{side}"]
        settings["IK_FK"], settings["pole_vector"] = 0.0, with_poles
        settings["IK_parent"] = settings["pole_parent"] = 2  # the torso
    body.update_tag()
    bpy.context.view_layer.update()


def walk(body: bpy.types.Object, names: dict[str, str], frames: range = FRAMES, swing: float = 0.7) -> None:
    """Key a walk on the bones that `names` gives for hips, thighs, shins, upper arms and forearms."""
    lowered = 0.6 if names["hips"] == "torso" else 1.25  # Rigify's human rests with its arms half down
    for frame in frames:
        t = (frame - frames[0]) / 24.0
        phase = 2 * np.pi * (0.9 * t + 0.08 * np.sin(1.3 * t))
        _put(
            body,
            names["hips"],
            frame,
            Euler((0.05, 0, 0.08 * np.sin(phase))),
            (0, -1.1 * t, 0.02 * np.cos(2 * phase)),
        )
        for side, sign in (("L", 1.0), ("R", -1.0)):
            leg = sign * np.sin(phase)
            _put(body, names[f"thigh.{side}"], frame, Euler((-0.5 * leg, 0, 0)))
            _put(body, names[f"shin.{side}"], frame, Euler((0.4 + 0.35 * np.cos(phase - 0.6) * sign, 0, 0)))
            arm = -sign * np.sin(phase + 0.2) * swing * (1 + 0.25 * np.sin(0.9 * t + sign))
            down = Euler((0, sign * lowered, 0)).to_matrix()
            _put(
                body,
                names[f"upper_arm.{side}"],
                frame,
                Matrix(Euler((-arm, 0, 0)).to_matrix() @ down).to_euler(),
            )
            bend = 0.45 + 0.3 * np.sin(phase * 1.1 + sign) + 0.2 * arm
            _put(body, names[f"forearm.{side}"], frame, Euler((-bend, 0, 0)), along=down)


def mixamo_names(prefix: str = "mixamorig:") -> dict[str, str]:
    """Names for `walk`."""
    found = {"hips": f"{prefix}Hips"}
    for side, word in (("L", "Left"), ("R", "Right")):
        found |= {
            f"{part}.{side}": f"{prefix}{word}{bone}"
            for part, bone in (
                ("thigh", "UpLeg"),
                ("shin", "Leg"),
                ("upper_arm", "Arm"),
                ("forearm", "ForeArm"),
            )
        }
    return found


def rigify_names() -> dict[str, str]:
    """Names for `walk`."""
    parts = ("thigh", "shin", "upper_arm", "forearm")
    return {"hips": "torso", **{f"{part}.{side}": f"{part}_fk.{side}" for part in parts for side in "LR"}}


def _put(
    body: bpy.types.Object,
    name: str,
    frame: int,
    turn: Euler,
    place: Sequence[float] | None = None,
    along: Matrix | None = None,
) -> None:
    """Key a turn given in the armature's axes (`along`: after that turn), and a move in them."""
    bone = body.pose.bones[name]
    rest = bone.bone.matrix_local.to_3x3()
    world = turn.to_matrix()
    if along is not None:
        world = along.inverted() @ world @ along
    basis = (rest.inverted() @ world @ rest).to_quaternion()
    if bone.rotation_mode == "QUATERNION":
        bone.rotation_quaternion = basis
        bone.keyframe_insert("rotation_quaternion", frame=frame)
    else:
        bone.rotation_euler = basis.to_euler(bone.rotation_mode)
        bone.keyframe_insert("rotation_euler", frame=frame)
    if place is not None:
        bone.location = rest.inverted() @ Vector(place)
        bone.keyframe_insert("location", frame=frame)


def _skin(scene: bpy.types.Scene, body: bpy.types.Object) -> None:
    """A prism a deforming bone, weighted to it alone."""
    mesh = bpy.data.meshes.new(f"{body.name} skin")
    made = bmesh.new()
    layer = made.verts.layers.deform.verify()
    skin = bpy.data.objects.new(mesh.name, mesh)
    for bone in body.data.bones:
        if not bone.use_deform:
            continue
        group = skin.vertex_groups.new(name=bone.name)
        corners = [made.verts.new(point) for point in _prism_points(bone)]
        for corner in corners:
            corner[layer][group.index] = 1.0
        for face in _FACES:
            made.faces.new([corners[k] for k in face])
    made.to_mesh(mesh)
    made.free()
    scene.collection.objects.link(skin)
    skin.parent = body
    skin.modifiers.new("Armature", "ARMATURE").object = body


_FACES = ((0, 1, 2, 3), (7, 6, 5, 4), (0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0))


def _prism_points(bone: bpy.types.Bone) -> list[Vector]:
    """Eight corners around the bone, thinner towards its tail."""
    thick = min(0.22 * bone.length + 0.004, 0.05)
    frame = bone.matrix_local
    return [
        frame @ Vector((x * size, y * bone.length, z * size))
        for y, size in ((0.0, thick), (1.0, 0.75 * thick))
        for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
