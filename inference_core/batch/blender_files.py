# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene and an FBX of a take, written by Blender in the background with the add-on."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inference_core.shared.errors import RequestError, TakeError
from inference_core.shared.json_record import shortened

_LONGEST_S = 1800


@dataclass(frozen=True)
class BlenderFiles:
    """The files that Blender should write for each take."""

    executable: str = "blender"
    blend: bool = False
    fbx: bool = False

    def check(self) -> None:
        """RequestError if files are wanted and there is no such Blender."""
        if (self.blend or self.fbx) and shutil.which(self.executable) is None:
            raise RequestError(f"There is no program {self.executable}. Give Blender's by --blender PATH.")

    def files(self, folder: Path, name: str) -> dict[str, Path]:
        """The files of a shot, by kind."""
        wanted = [kind for kind, is_wanted in (("blend", self.blend), ("fbx", self.fbx)) if is_wanted]
        return {kind: folder / f"{name}.{kind}" for kind in wanted}

    def missing(self, folder: Path, name: str) -> dict[str, Path]:
        """Those of a shot that are not there."""
        return {kind: path for kind, path in self.files(folder, name).items() if not path.exists()}

    def write(self, take: Path, files: dict[str, Path]) -> None:
        """Write the files from the take. TakeError if Blender does not run, with what it reported."""
        command = [self.executable, "--background", "--command", "duohand", str(take)]
        for kind, path in files.items():
            command += [f"--{kind}", str(path)]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S, check=False
            )
        except OSError as error:
            raise TakeError(
                f"{self.executable} could not be started: {error.strerror or error}. Give --blender PATH."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise TakeError(f"Blender did not finish {take.name} in {_LONGEST_S // 60} minutes.") from error
        if ended.returncode or not all(path.exists() for path in files.values()):
            lines = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
            said = shortened(lines[-1], 300) if lines else f"exit code {ended.returncode}"
            raise TakeError(
                f"Blender wrote no {' and no '.join(files)} of {take.name}: {said}. Is the add-on installed in it?"
            )


NO_BLENDER_FILES = BlenderFiles()
