# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds dist/duohand-VERSION.zip, the Blender extension: the add-on, the core's light part as a pure wheel, and
the whole core as a wheel for Install Engine.

    python build_addon.py                                 # the extension, validated
    python build_addon.py --repository dist/repository    # and an index from which Blender can update it
    python build_addon.py --no-core                       # without the whole core: Install Engine takes PyPI's

The standard library is enough. Blender's own `blender_ext.py` validates the result; it is looked for in installed
bpy wheels (.venv-bpy*/, this Python) and beside a `blender` on the PATH, or taken from --blender-ext.
"""

import argparse
import ast
import base64
import hashlib
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
ADDON_FOLDER = "blender_addon"
CORE_FOLDER = "inference_core"
WHEEL_NAME = "duohand_light"
CORE_WHEELS = "engine/wheels"  # where install/operators.py looks for the core

# What runs inside Blender: standard library and numpy only (tests/blender_addon/test_build.py holds this closed).
LIGHT_FOLDER = "shared"

# A constant date keeps equal sources equal to the byte.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_BLENDER_EXT = "scripts/addons_core/bl_pkg/cli/blender_ext.py"
_TAGS = "scripts/modules/_bpy_internal/extensions/tags.py"

_MANIFEST = """\
schema_version = "1.0.0"

id = "duohand"
version = "{version}"
name = "Duohand"
tagline = "Footage of two hands in, two rigged and keyed hands out"
maintainer = "Duohand contributors"
type = "add-on"
tags = ["Animation", "Tracking", "Import-Export"]
blender_version_min = "4.2.0"
license = ["SPDX:{licence}"]
wheels = ["./wheels/{wheel}"]

[permissions]
files = "Read footage and takes, write takes and exported motion"
network = "Install the engine into its own folder, when you ask for it"
"""


class BuildError(Exception):
    """The extension cannot be built; the message says why."""


@dataclass(frozen=True)
class BlenderTool:
    """Blender's extension tool and the list of tags that Blender knows (None: tags go unchecked)."""

    script: Path
    tags: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Build as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the zip (dist)")
    parser.add_argument(
        "--no-core", action="store_true", help="leave out the wheel that Install Engine installs"
    )
    parser.add_argument("--blender-ext", type=Path, metavar="PATH", help="Blender's blender_ext.py")
    parser.add_argument(
        "--repository", type=Path, metavar="FOLDER", help="also make a self-hosted repository in this folder"
    )
    options = parser.parse_args(arguments)
    try:
        tool = find_blender_tool(options.blender_ext)
        archive = build(options.out, with_core=not options.no_core)
        if tool is None:
            print("Blender's blender_ext.py was not found: only this script's own checks were made.")
        else:
            validate(archive, tool)
        if options.repository:
            make_repository(archive, options.repository, tool)
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 2
    print(archive)
    return 0


def build(out: Path, with_core: bool = True) -> Path:
    """Path of the extension's zip, built from this checkout into the folder `out`."""
    project = read_project()
    wheel_name, wheel = light_wheel(project["version"], project["license"])
    manifest = _MANIFEST.format(version=project["version"], licence=project["license"], wheel=wheel_name)
    content: dict[str, bytes] = {"blender_manifest.toml": manifest.encode(), f"wheels/{wheel_name}": wheel}
    for path in _sources(ROOT / ADDON_FOLDER):
        content[path.relative_to(ROOT / ADDON_FOLDER).as_posix()] = path.read_bytes()
    if with_core:
        core_name, core = core_wheel(project)
        content[f"{CORE_WHEELS}/{core_name}"] = core
    content["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    check_content(content)
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"duohand-{project['version']}.zip"
    archive.write_bytes(_zipped(content))
    return archive


def read_project() -> dict[str, Any]:
    """pyproject's `project` table, with the version, which stands in the core alone."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for node in ast.parse((ROOT / CORE_FOLDER / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return {**project, "version": ast.literal_eval(node.value)}
    raise BuildError(f"{CORE_FOLDER}/__init__.py names no __version__.")


def light_wheel(version: str, licence: str) -> tuple[str, bytes]:
    """File name and bytes of the wheel that holds the core's light modules.

    A digest of the content stands in its version: Blender unpacks a wheel of a name it knows only once.
    """
    core = ROOT / CORE_FOLDER
    files = [core / "__init__.py", *sorted((core / LIGHT_FOLDER).glob("*.py"))]
    if len(files) == 1:
        raise BuildError(f"{core / LIGHT_FOLDER} holds no modules, and the add-on needs them.")
    content = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    digest = hashlib.sha256(b"".join(content.values())).hexdigest()[:12]
    full_version = f"{version}+{digest}"
    return _pure_wheel(
        WHEEL_NAME,
        full_version,
        content,
        f"License-Expression: {licence}\nSummary: The part of Duohand's core that runs inside Blender\n"
        "Requires-Python: >=3.11\n",
    )


def core_wheel(project: Mapping[str, Any]) -> tuple[str, bytes]:
    """File name and bytes of the wheel that holds the whole core, as pyproject's `project` table describes it."""
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in project["dependencies"])
    content = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in _sources(ROOT / CORE_FOLDER)}
    scripts = {name: call for name, call in project["scripts"].items() if call.startswith(f"{CORE_FOLDER}.")}
    entries = "".join(f"{name} = {call}\n" for name, call in scripts.items())
    info = f"{project['name']}-{project['version']}.dist-info"
    content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}".encode()
    for name in project["license-files"]:
        content[f"{info}/licenses/{name}"] = (ROOT / name).read_bytes()
    licences = "".join(f"License-File: {name}\n" for name in project["license-files"])
    return _pure_wheel(
        project["name"],
        project["version"],
        content,
        f"License-Expression: {project['license']}\nSummary: {project['description']}\n"
        f"{licences}Requires-Python: {project['requires-python']}\n{needs}",
    )


def check_content(content: Mapping[str, bytes]) -> None:
    """Raise a BuildError for what Blender's own validation lets pass: lost wheels, bare licences, bad syntax."""
    manifest = tomllib.loads(content["blender_manifest.toml"].decode())
    for wheel in manifest["wheels"]:
        if wheel.removeprefix("./") not in content:
            raise BuildError(f"The manifest names the wheel {wheel}, which the zip does not hold.")
    for licence in manifest["license"]:
        if not re.fullmatch(r"SPDX:[A-Za-z0-9.+-]+", licence):
            raise BuildError(f"The manifest's licence {licence!r} does not read SPDX:IDENTIFIER.")
    if "__init__.py" not in content:
        raise BuildError("The add-on has no __init__.py.")
    for name, source in content.items():
        if name.endswith(".py"):
            try:
                ast.parse(source, name)
            except SyntaxError as error:
                raise BuildError(f"{name} line {error.lineno}: {error.msg}.") from error


def find_blender_tool(script: Path | None = None) -> BlenderTool | None:
    """Blender's extension tool: the given one, else the newest that is installed, else None."""
    if script is not None:
        if not script.is_file():
            raise BuildError(
                f"There is no {script}; --blender-ext wants the path of Blender's blender_ext.py."
            )
        return _tool(script)
    found = list(_installed_tools())
    return _tool(found[-1]) if found else None


def validate(archive: Path, tool: BlenderTool) -> None:
    """Let Blender's own tool judge the zip; a BuildError carries what it found."""
    tags = [f"--valid-tags={tool.tags}"] if tool.tags else []
    _run_tool(tool, "validate", *tags, str(archive))


def make_repository(archive: Path, folder: Path, tool: BlenderTool | None) -> None:
    """Put the zip and an index of all zips there into `folder`, to be served as it stands."""
    if tool is None:
        raise BuildError("--repository needs Blender's blender_ext.py: give its path with --blender-ext.")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(archive, folder / archive.name)
    _run_tool(tool, "server-generate", "--html", f"--repo-dir={folder}")


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _zipped(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _pure_wheel(name: str, version: str, content: Mapping[str, bytes], metadata: str) -> tuple[str, bytes]:
    """File name and bytes of a wheel for any Python 3 and system."""
    info = f"{name}-{version}.dist-info"
    whole = dict(content)
    whole[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}".encode()
    )
    whole[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: build_addon\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(f"{file},sha256={_record_hash(data)},{len(data)}\n" for file, data in whole.items())
    whole[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return f"{name}-{version}-py3-none-any.whl", _zipped(whole)


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _installed_tools() -> Iterator[Path]:
    """blender_ext.py of every Blender in sight, oldest first."""
    packages = [*ROOT.glob(".venv-bpy*/lib/python3*/site-packages"), Path(sysconfig.get_path("purelib"))]
    found = [path for folder in packages for path in folder.glob(f"bpy/*/{_BLENDER_EXT}")]
    blender = shutil.which("blender")
    if blender:
        found += Path(blender).resolve().parent.glob(f"*/{_BLENDER_EXT}")
    return iter(sorted(found, key=lambda path: [int(part) for part in _version_folder(path).split(".")]))


def _version_folder(script: Path) -> str:
    return script.parents[4].name


def _tool(script: Path) -> BlenderTool:
    tags = script.parents[4] / _TAGS if len(script.parents) > 4 else None
    return BlenderTool(script.resolve(), tags if tags and tags.is_file() else None)


def _run_tool(tool: BlenderTool, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, str(tool.script), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(
            f"Blender's {tool.script.name} {arguments[0]} says: {(done.stdout + done.stderr).strip()}"
        )


if __name__ == "__main__":
    sys.exit(main())
