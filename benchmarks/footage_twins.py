# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the hands of one piece of footage are from those of another that shows the same: distances of all joints.

python -m benchmarks.footage_twins CASE TWIN [--network none]
python -m benchmarks.footage_twins TWIN --again libx264      # against itself, encoded once more
"""

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from inference_core.footage import open_footage
from inference_core.pipeline import reconstruct
from inference_core.shared.messages import CaptureRequest

_PIXELS = {"mjpeg": "yuvj420p"}


def main() -> None:
    """Print the distances."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("footage", type=Path)
    parser.add_argument("twin", type=Path, nargs="?")
    parser.add_argument(
        "--again", metavar="CODEC", default="libx264", help="of the twin's twin (%(default)s)"
    )
    parser.add_argument("--network", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        twin = options.twin or encoded_again(options.footage, Path(name) / "again.mkv", options.again)
        ours, theirs = (joints_m(path, Path(name), options.network) for path in (options.footage, twin))
    length = min(len(ours), len(theirs))
    apart_mm = 1000 * np.linalg.norm(ours[:length] - theirs[:length], axis=-1)
    seen = np.isfinite(ours[:length, :, 0, 0]), np.isfinite(theirs[:length, :, 0, 0])
    apart_mm = apart_mm[np.isfinite(apart_mm)]
    median, most = np.percentile(apart_mm, (50, 95)) if len(apart_mm) else (np.nan, np.nan)
    print(
        f"{options.footage.name} | {twin.name}: {len(ours)} and {len(theirs)} frames, presence the same in "
        f"{np.mean(seen[0] == seen[1]):.0%}; joints apart by {median:.2f} mm in the median, "
        f"95 of 100 below {most:.2f} mm"
    )


def joints_m(footage: Path, folder: Path, network: str) -> NDArray[np.float32]:
    """The joints (T, S, 21, 3) of a take of the footage, in the camera's axes."""
    out = folder / f"{footage.stem}-{footage.parent.name}.npz"
    take = reconstruct(CaptureRequest(str(footage), str(out), network=network, proxy="none"))
    return take.joints_cam_m


def encoded_again(footage: Path, path: Path, codec: str) -> Path:
    """A movie of the footage's frames, as they are read, by another encoder."""
    read = open_footage(footage)
    rate = Fraction(read.info.fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        (stream.width, stream.height), stream.pix_fmt = read.info.size_px, _PIXELS.get(codec, "yuv420p")
        for number, frame in enumerate(read):
            picture = av.VideoFrame.from_ndarray(frame.image, format="rgb24")
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
