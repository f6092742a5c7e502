# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's zip: its contents, and what the build rejects."""

import ast
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_addon

ALLOWED = {"numpy", "inference_core", *sys.stdlib_module_names}


def content_of(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_zip_has_the_add_on_its_manifest_and_its_wheel(tmp_path):
    content = content_of(build_addon.build(tmp_path))
    manifest = tomllib.loads(content["blender_manifest.toml"].decode())
    project = build_addon.read_project()
    assert manifest["id"] == "duohand"
    assert manifest["version"] == project["version"]
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert manifest["blender_version_min"] == "4.2.0"
    assert set(manifest["permissions"]) == {"files", "network"}
    assert all(wheel.removeprefix("./") in content for wheel in manifest["wheels"])
    assert "__init__.py" in content
    assert "LICENSE" in content
    assert not [name for name in content if "__pycache__" in name or name.endswith(".pyc")]


def test_builds_are_reproducible_and_the_wheels_name_depends_on_its_content(tmp_path, monkeypatch):
    first, second = build_addon.build(tmp_path / "a"), build_addon.build(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    name = build_addon.light_wheel("1.0", "GPL-3.0-or-later")[0]
    monkeypatch.setattr(build_addon, "LIGHT_FOLDER", "geometry")
    assert build_addon.light_wheel("1.0", "GPL-3.0-or-later")[0] != name


def test_the_wheels_record_lists_every_file_with_its_hash(tmp_path):
    _, wheel = build_addon.light_wheel("1.0", "GPL-3.0-or-later")
    path = tmp_path / "light.whl"
    path.write_bytes(wheel)
    content = content_of(path)
    record = next(data for name, data in content.items() if name.endswith("RECORD")).decode()
    listed = {line.split(",")[0]: line.split(",")[1] for line in record.splitlines()}
    assert set(listed) == set(content)
    for name, data in content.items():
        if not name.endswith("RECORD"):
            digest = build_addon.base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert listed[name] == f"sha256={digest}"


def test_the_cores_wheel_installs_and_lists_its_dependencies(tmp_path):
    project = build_addon.read_project()
    content = content_of(build_addon.build(tmp_path))
    (name,) = [name for name in content if name.startswith(f"{build_addon.CORE_WHEELS}/")]
    wheel = tmp_path / Path(name).name
    wheel.write_bytes(content[name])
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    subprocess.run([*install, str(tmp_path / "site"), str(wheel)], check=True)
    program = (
        "import importlib.metadata as m, sys; sys.path.insert(0, sys.argv[1])\n"
        "import inference_core; from inference_core.hand_model.load import load_open_hand; load_open_hand()\n"
        "print(inference_core.__file__); print(*m.requires('duohand'), sep='\\n')"
    )
    told = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    where, *needed = told.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert needed == project["dependencies"]


def test_the_core_may_be_left_out(tmp_path):
    content = content_of(build_addon.build(tmp_path, with_core=False))
    assert not [name for name in content if name.startswith(build_addon.CORE_WHEELS)]


def test_the_light_modules_need_only_each_other_the_standard_library_and_numpy():
    core = build_addon.ROOT / "inference_core"
    paths = sorted((core / build_addon.LIGHT_FOLDER).glob("*.py"))
    light = {f"inference_core.{build_addon.LIGHT_FOLDER}.{path.stem}" for path in paths}
    light.add(f"inference_core.{build_addon.LIGHT_FOLDER}")
    for path in (core / "__init__.py", *paths):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for module in modules:
                assert module.split(".")[0] in ALLOWED, f"{path} imports {module}"
                if module.startswith("inference_core."):
                    assert module in light, f"{path} imports {module}, which the wheel does not hold"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wheels": None}, "names the wheel"),
        ({"blender_manifest.toml": b'license = ["GPL-3.0-or-later"]\nwheels = []'}, "does not read SPDX"),
        ({"broken.py": b"def f(:\n"}, "broken.py line 1"),
        ({"__init__.py": None}, "no __init__"),
    ],
)
def test_faults_that_blenders_validation_misses_are_refused(change, words, tmp_path):
    content = content_of(build_addon.build(tmp_path))
    for name, data in change.items():
        if data is not None:
            content[name] = data
        for known in [known for known in content if known.startswith(name) and data is None]:
            del content[known]
    with pytest.raises(build_addon.BuildError, match=words):
        build_addon.check_content(content)


def test_a_missing_blender_ext_is_named(tmp_path, capsys):
    assert build_addon.main(["--out", str(tmp_path), "--blender-ext", "/nowhere/blender_ext.py"]) == 2
    assert "/nowhere/blender_ext.py" in capsys.readouterr().err


def test_a_core_without_its_shared_room_is_named(monkeypatch):
    monkeypatch.setattr(build_addon, "LIGHT_FOLDER", "gone")
    with pytest.raises(build_addon.BuildError, match="gone"):
        build_addon.light_wheel("1.0", "GPL-3.0-or-later")
