# SPDX-License-Identifier: GPL-3.0-or-later
"""Install Engine from a local index, under all kinds of trouble with networks, disks and Pythons."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import build_addon
from blender_addon.engine.install_job import InstallJob, InstallState
from blender_addon.engine.installer.failures import explained
from blender_addon.engine.installer.plan import REQUIREMENTS, TORCH, Installation, engine_python
from blender_addon.engine.installer.program import versions_of
from inference_core.shared.system import try_lock
from tests.blender_addon.package_index import PackageIndex, made_wheel, pip_wheel, serving

BIG = 6_000_000
TORCH_WHEEL = made_wheel("torch", TORCH.partition("==")[2], size=BIG)
PIP_WHEEL = pip_wheel()
PLAIN_WHEEL = made_wheel("made-package", "1.2", size=BIG)
CORE_WHEEL = made_wheel("duohand", "0.1.0", needs=("torch", "made-package>=1"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder. Engines in it share their environment: making one takes seconds."""
    return tmp_path_factory.mktemp("Jürgen Müller's files")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    with serving(dict((PIP_WHEEL, TORCH_WHEEL, PLAIN_WHEEL))) as served:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "1")
        monkeypatch.setenv("PIP_INDEX_URL", served.url)
        yield served


@pytest.fixture
def plan(home: Path, index: PackageIndex) -> Installation:
    """Small wheels of the core, PyTorch and one package; an earlier test's bare environment is kept."""
    requirements, core = home / "requirements.txt", home / CORE_WHEEL[0]
    requirements.write_text(f"made-package==1.2 \\\n    --hash=sha256:{index.hashes[PLAIN_WHEEL[0]]}\n")
    core.write_bytes(CORE_WHEEL[1])
    shutil.rmtree(home / "engine" / "downloads", ignore_errors=True)
    pip = f"{PIP_WHEEL[0]}#{index.hashes[PIP_WHEEL[0]]}"
    found = Installation(
        home / "engine", Path(sys.executable), str(core), "cpu", None, requirements, pip, room_bytes=20 * BIG
    )
    if found.environment.has_packages or engine_python(found.folder).exists():
        shutil.rmtree(found.folder)
    return found


def run(plan: Installation, until: Callable[[InstallState], bool] = lambda _state: False) -> InstallState:
    """The installation's end; cancelled once `until` holds."""
    job = InstallJob(plan, plan.requirements.with_name("install.log"))
    job.start()
    end = time.monotonic() + 120
    while not job.poll().ended:
        assert time.monotonic() < end
        if until(job.state):
            job.cancel()
        time.sleep(0.02)
    return job.state


def problem(plan: Installation) -> str:
    """What a failed installation says; it leaves no engine behind that could be taken for a whole one."""
    state = run(plan)
    assert state.error and "\n" not in state.error
    assert not engine_python(plan.folder).exists()
    return state.error


def test_an_engine_is_installed_once_and_needs_no_network_afterwards(
    plan: Installation, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(plan).error == ""
    python = engine_python(plan.folder)
    said = "import duohand, torch, made_package; print(duohand.name, torch.name, made_package.name)"
    told = subprocess.run([python, "-I", "-c", said], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["duohand", "torch", "made-package"]
    assert {path.name for path in plan.folder.iterdir()} == {"lock", plan.environment.folder.name}
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert run(plan).error == "" and engine_python(plan.folder) == python


@pytest.mark.slow
def test_a_broken_download_resumes_where_it_stopped(plan: Installation, index: PackageIndex) -> None:
    index.cut[TORCH_WHEEL[0]] = [2_000_000, 2_000_000]
    assert run(plan).error == ""
    assert index.served[TORCH_WHEEL[0]] < BIG + 20_000


@pytest.mark.slow
def test_a_cancelled_installation_resumes(plan: Installation, index: PackageIndex) -> None:
    index.cut[TORCH_WHEEL[0]] = [2_000_000, *[0] * 20]
    first = run(plan)
    assert "Press Install Engine again" in first.error
    index.cut.clear()
    before = index.served.copy()
    assert run(plan).error == ""
    assert index.served[TORCH_WHEEL[0]] - before[TORCH_WHEEL[0]] < BIG - 1_900_000
    assert index.served[PLAIN_WHEEL[0]] - before[PLAIN_WHEEL[0]] < 20_000, "it was whole"


def test_a_cancelled_installation_ends_and_reports_it(plan: Installation) -> None:
    state = run(plan, until=lambda state: "Making" in state.text)
    assert "Cancelled" in state.error
    assert not engine_python(plan.folder).exists()


@pytest.mark.slow
def test_a_failed_update_keeps_the_previous_engine(
    plan: Installation, index: PackageIndex, home: Path
) -> None:
    assert run(plan).error == ""
    former = engine_python(plan.folder)
    plan.requirements.write_text("made-package==9 --hash=sha256:00\n")
    assert "No made-package==9" in run(plan).error
    assert engine_python(plan.folder) == former and former.exists()
    shutil.rmtree(plan.folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "could not provide a file (404)"),
        (403, "refused the download (403)"),
        (503, "could not provide a file (503)"),
    ],
)
def test_errors_of_the_index_are_reported(
    plan: Installation, index: PackageIndex, status: int, said: str
) -> None:
    index.status[TORCH_WHEEL[0]] = status
    assert said in problem(plan)


@pytest.mark.slow
def test_a_package_missing_in_the_index_is_named(plan: Installation, index: PackageIndex) -> None:
    del index.files[TORCH_WHEEL[0]]
    assert f"No {TORCH}" in problem(plan)


@pytest.mark.slow
def test_files_with_other_hashes_are_not_installed(plan: Installation, index: PackageIndex) -> None:
    name, data = made_wheel("made-package", "1.2", size=BIG + 1)
    index.files[name] = data
    index.hashes[name] = "0" * 64
    assert "made-package" in (said := problem(plan)) and "differs from the file" in said
    plan.requirements.write_text("made-package==1.2 --hash=sha256:" + "1" * 64)
    index.files[PLAIN_WHEEL[0]] = PLAIN_WHEEL[1]
    assert "differs from the file" in problem(plan), "though the mirror's own digest is right"


@pytest.mark.slow
def test_an_unreachable_index_is_named(plan: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert "127.0.0.1:9 could not be reached" in problem(plan)


@pytest.mark.slow
def test_a_mirrors_password_is_used(
    plan: Installation, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.password = "Y2xhcmE6c2VjcmV0"  # clara:secret in base 64
    assert "refused the download (401)" in problem(plan)
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//clara:secret@"))
    assert run(plan).error == ""
    assert "secret" not in plan.requirements.with_name("install.log").read_text()


@pytest.mark.slow
def test_an_extra_index_takes_precedence_over_pytorchs(
    plan: Installation, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({PLAIN_WHEEL[0]: PLAIN_WHEEL[1]}) as first:
        del index.files[PLAIN_WHEEL[0]]
        monkeypatch.setenv("PIP_INDEX_URL", first.url)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
        assert run(plan).error == ""


@pytest.mark.slow
def test_a_proxy_is_used(plan: Installation, index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://packages.studio.test/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "packages.studio.test")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{index.server_port}")
    assert run(plan).error == ""
    assert f"http://packages.studio.test/files/{TORCH_WHEEL[0]}" in index.proxied
    shutil.rmtree(plan.folder)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "proxy" in problem(plan)


def test_a_missing_certificate_file_is_named(plan: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/studio.pem")
    assert "There is no certificate file /nowhere/studio.pem" in problem(plan)


def test_a_folder_that_cannot_be_written_is_named(plan: Installation, home: Path) -> None:
    (home / "a file").write_text("in the way")
    said = problem(replace(plan, folder=home / "a file" / "engine"))
    assert "cannot be written" in said and "Engine Folder" in said


@pytest.mark.slow
def test_an_unwritable_home_does_not_matter(plan: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.devnull)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert run(plan).error == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_a_full_disk_is_reported_and_the_installation_resumes(
    plan: Installation, index: PackageIndex, tmp_path: Path
) -> None:
    """A limit on a file's length refuses writes as a full disk does."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -f {BIG * 2 // 3 // 512}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    said = problem(replace(plan, base_python=python))
    assert "is full" in said and "Engine Folder" in said
    before = index.served.copy()
    assert run(plan).error == ""
    assert index.served[TORCH_WHEEL[0]] - before[TORCH_WHEEL[0]] < BIG // 2


def test_too_little_disk_space_is_reported_before_any_download(
    plan: Installation, index: PackageIndex, tmp_path: Path
) -> None:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(tmp_path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small disk can be made by root on Linux only")
    try:
        said = problem(replace(plan, folder=tmp_path / "engine", room_bytes=None))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert "has 0.0 GB left, and the engine takes 3.2 GB" in said
    assert not index.served


def test_two_installations_into_the_same_folder_exclude_each_other(plan: Installation) -> None:
    plan.folder.mkdir(exist_ok=True)
    with (plan.folder / "lock").open("ab") as lock:
        assert try_lock(lock)
        assert "Another Blender" in problem(plan)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there a Python always has ensurepip")
def test_without_ensurepip_pip_comes_from_the_index(
    plan: Installation, index: PackageIndex, tmp_path: Path
) -> None:
    plan = replace(plan, base_python=python_without_ensurepip(tmp_path))
    index.status[PIP_WHEEL[0]] = 404
    said = problem(plan)
    assert "ensurepip" in said and "python3-venv" in said
    index.status.clear()
    assert run(plan).error == ""


def python_without_ensurepip(folder: Path) -> Path:
    """As Linux distributions have it, made of links to the one that runs here."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    standard, library = Path(os.__file__).parent, folder / "lib" / version
    library.mkdir(parents=True)
    for path in standard.iterdir():
        if path.name not in ("ensurepip", "site-packages"):
            (library / path.name).symlink_to(path)
    (folder / "bin").mkdir()
    return Path(shutil.copy2(Path(sys.executable).resolve(), folder / "bin" / version))


@pytest.mark.slow
def test_a_wheel_folder_is_enough_without_a_network(
    plan: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever versions of the packages lie in it."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name, data in (PIP_WHEEL, PLAIN_WHEEL):
        (tmp_path / name).write_bytes(data)
    offline = replace(plan, wheel_folder=tmp_path)
    assert "No torch" in problem(offline)
    name, data = made_wheel("torch", "9.9")
    (tmp_path / name).write_bytes(data)
    assert run(offline).error == ""


def test_every_pinned_version_satisfies_the_cores_requirements() -> None:
    pinned: dict[str, set[str]] = {}
    for line in versions_of(REQUIREMENTS.read_text()):
        pin = Requirement(line)
        pinned.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier).removeprefix("=="))
    pinned["torch"] = {TORCH.partition("==")[2]}
    for text in build_addon.read_project()["dependencies"]:
        wanted = Requirement(text)
        versions = pinned[canonicalize_name(wanted.name)]
        assert all(wanted.specifier.contains(version) for version in versions), text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "Retrying (...) after connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel "
            "connection failed: 407 Proxy Authentication Required'))': /simple/torch/",
            "user name and a password",
        ),
        (
            "Could not fetch URL https://mirror.studio/simple/av/: There was a problem confirming the ssl certificate: "
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
            "certificate of mirror.studio is not trusted",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "is full",
        ),
        ("OSError: [WinError 112] There is not enough space on the disk", "is full"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/a b/ü'",
            "/a b/ü cannot",
        ),
        (
            "ERROR: 404 Client Error: Not Found for url: https://mirror.studio/torch.whl",
            "mirror.studio could not provide",
        ),
        (
            "<urlopen error [Errno -2] Name or service not known> https://mirror.studio/x",
            "mirror.studio could not be r",
        ),
        ("ERROR: Something new.", "pip failed: Something new. Press Install Engine again"),
    ],
)
def test_pips_errors_are_reported_in_a_line_with_advice(line: str, said: str) -> None:
    told = explained(["Collecting torch", line, "pip ended with 1."], Path("/home/jürgen/engine"))
    assert said in told and "\n" not in told
