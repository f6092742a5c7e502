# SPDX-License-Identifier: GPL-3.0-or-later
"""Duohand in Blender: footage of two hands in, two rigged and keyed hands out.

Importing the package does not import bpy: parts that do not need it are tested without it.
"""

import importlib
import sys
from pathlib import Path


def register() -> None:
    forget_former_release()
    from . import registration

    registration.register()
    _tag_core()


def unregister() -> None:
    from . import registration

    registration.unregister()


def forget_former_release() -> None:
    """Drop the modules of a release that was updated in this running Blender.

    Blender runs this file again but keeps the modules that it imported, including the core's, which came in a wheel.
    """
    core = sys.modules.get("inference_core")
    if core is None or not _is_from_a_wheel(str(core.__file__)) or _tag(core) == _wheel():
        return
    stale = ("inference_core", f"{__package__}.")
    for name in [
        name for name in sys.modules if name == stale[0] or name.startswith((f"{stale[0]}.", stale[1]))
    ]:
        del sys.modules[name]
    sys.modules[__name__].__dict__.pop("registration", None)
    importlib.invalidate_caches()


def _tag_core() -> None:
    """Record on the loaded core which wheel it came from."""
    core = sys.modules.get("inference_core")
    if core is not None:
        core.__dict__["duohand_wheel"] = _wheel()


def _tag(core: object) -> str:
    return str(getattr(core, "duohand_wheel", ""))


def _wheel() -> str:
    """Name of this release's wheel; empty if the add-on runs from source."""
    return next((path.name for path in (Path(__file__).parent / "wheels").glob("*.whl")), "")


def _is_from_a_wheel(file: str) -> bool:
    """Whether Blender unpacked it from an extension's wheel; a checkout's core is left alone."""
    return ".local" in Path(file).parts
