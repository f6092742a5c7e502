# SPDX-License-Identifier: GPL-3.0-or-later
"""How a shot's skins look: opacity, wires, left and right tints, as read from the skins and materials themselves."""

from typing import Any, Final

import bpy

from ..scene.shot import armatures

TINTS: Final = {"LEFT": (0.75, 0.30, 0.22), "RIGHT": (0.22, 0.40, 0.75)}
_UNTINTED: Final = "duohand_untinted"


def skins(shot: bpy.types.Collection) -> list[Any]:
    """The shot's skins."""
    return [hand.duohand.skin for hand in armatures(shot).values() if hand.duohand.skin is not None]


def opacity(shot: bpy.types.Collection) -> float:
    """How opaque the skins are, 0..1."""
    return next((float(material.diffuse_color[3]) for material in _materials(shot)), 1.0)


def set_opacity(shot: bpy.types.Collection, value: float) -> None:
    """Let the plate be seen through the skins, in the viewport's solid shading and when rendered."""
    for material in _own_materials(shot):
        material.diffuse_color[3] = value
        alpha = _input(material, "Alpha")
        if alpha is not None:
            alpha.default_value = value
        material.surface_render_method = "BLENDED" if value < 1 else "DITHERED"
        material.use_transparency_overlap = False  # only the nearest skin is visible


def has_wire(shot: bpy.types.Collection) -> bool:
    """Whether the skins show their wires."""
    return any(skin.show_wire for skin in skins(shot))


def set_wire(shot: bpy.types.Collection, shown: bool) -> None:
    """Show or hide the skins' wires."""
    for skin in skins(shot):
        skin.show_wire = skin.show_all_edges = shown


def has_tints(shot: bpy.types.Collection) -> bool:
    """Whether the left and the right hand have different colours."""
    return any(_UNTINTED in material for material in _materials(shot))


def set_tints(shot: bpy.types.Collection, shown: bool) -> None:
    """Tint the left hand red and the right one blue, or restore the skins' colours."""
    for hand in armatures(shot).values():
        for material in _own(hand.duohand.skin) if hand.duohand.skin is not None else ():
            if shown and _UNTINTED not in material:
                material[_UNTINTED] = [*_colour(material), *material.diffuse_color[:3]]
                _set_colour(material, TINTS[hand.duohand.side], TINTS[hand.duohand.side])
            elif not shown and _UNTINTED in material:
                kept = list(material[_UNTINTED])
                _set_colour(material, kept[:3], kept[3:])
                del material[_UNTINTED]


def _materials(shot: bpy.types.Collection) -> list[Any]:
    return [material for skin in skins(shot) for material in skin.data.materials if material is not None]


def _own_materials(shot: bpy.types.Collection) -> list[Any]:
    return [material for skin in skins(shot) for material in _own(skin)]


def _own(skin: Any) -> list[Any]:
    """The skin's materials, each made single-user if shared, so that only this hand's look changes."""
    for index, material in enumerate(skin.data.materials):
        if material is not None and material.users > 1:
            skin.data.materials[index] = material.copy()
            skin.data.materials[index].name = f"{skin.name} {material.name}"
    return [material for material in skin.data.materials if material is not None]


def _colour(material: Any) -> list[float]:
    base = _input(material, "Base Color")
    return list(base.default_value[:3] if base is not None else material.diffuse_color[:3])


def _set_colour(material: Any, rendered: Any, in_viewport: Any) -> None:
    material.diffuse_color = (*in_viewport, material.diffuse_color[3])
    base = _input(material, "Base Color")
    if base is not None:
        base.default_value = (*rendered, 1.0)


def _input(material: Any, name: str) -> Any:
    """That input of the material's shader node; None if it has none."""
    nodes = material.node_tree.nodes if material.node_tree is not None else ()
    shader = next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)
    return shader.inputs.get(name) if shader is not None else None
