# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands `duohand import` and `duohand export`: takes from other engines' results, and for other programs.

Heavy modules are imported when a command runs, not when the parser is built.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from inference_core.shared.errors import RequestError
from inference_core.shared.messages import EXIT_OK, CaptureRequest, check_request
from inference_core.shared.whole_file import check_apart, check_name

if TYPE_CHECKING:
    from inference_core.footage import Footage
    from inference_core.geometry.camera import Camera

_FORMATS = {"mano-npz": ".npz", "smplx": ".npz", "openxr": ".json", "pose-format": ".pose"}


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    """Adds `import` and `export`."""
    importer = subparsers.add_parser(
        "import", help="make a take from results of HaMeR, WiLoR, HaWoR or Dyn-HaMR"
    )
    importer.set_defaults(run=_import)
    importer.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="result files, or a folder of them"
    )
    importer.add_argument("--out", type=Path, required=True, metavar="T.npz", help="the take")
    importer.add_argument("--footage", metavar="FOOTAGE", help="the footage that they were made from")
    importer.add_argument(
        "--first",
        type=int,
        metavar="N",
        help="number of the footage's first frame in the results (default: 0, or 1 if pictures count from 1)",
    )
    importer.add_argument("--fps", type=float, help="frames a second, if the footage does not determine it")
    importer.add_argument("--size", type=_size, metavar="WxH", help="of the pictures, without --footage")
    importer.add_argument("--fov", type=float, metavar="DEG", help="the true lens, if the engine assumed one")
    importer.add_argument("--focal-mm", type=float, metavar="F", help="the same, with --sensor-mm")
    importer.add_argument("--sensor-mm", type=float, metavar="S", help="wider side of the sensor as filmed")
    importer.add_argument(
        "--hand-length-mm", type=float, metavar="MM", help="wrist crease to middle fingertip"
    )
    importer.add_argument("--mano", type=Path, metavar="DIR", help="your MANO files, for identical hands")
    exporter = subparsers.add_parser("export", help="write a take's hands for other programs")
    exporter.set_defaults(run=_export)
    exporter.add_argument("take", type=Path, metavar="TAKE", help="a take, .npz")
    exporter.add_argument("--as", dest="format", choices=tuple(_FORMATS), required=True, help="the format")
    exporter.add_argument("--out", type=Path, metavar="FILE", help="default: beside the take")
    exporter.add_argument(
        "--mano", type=Path, metavar="DIR", help="your MANO files, for SMPL-X poses relative to the mean"
    )


def _import(parsed: argparse.Namespace) -> int:
    from inference_core.cli.take_report import summary
    from inference_core.cli.terminal import ProgressBar
    from inference_core.exchange.import_settings import ImportSettings, hands_to_import
    from inference_core.exchange.read import read_engine_hands
    from inference_core.hand_model.arrays import MANO_NAME, OPEN_HAND_NAME
    from inference_core.hand_model.mano_file import read_mano
    from inference_core.request_inputs import footage_inputs, mano_inputs
    from inference_core.shared.take import save_take

    check_name(parsed.out, (".npz",), "A take")
    check_request(_as_request(parsed))
    inputs = [*parsed.files, *(footage_inputs(parsed.footage) if parsed.footage else [])]
    check_apart([parsed.out], [*inputs, *mano_inputs(parsed.mano)])
    with ProgressBar() as bar:
        footage = _footage(parsed, bar)
        settings = ImportSettings(
            footage, parsed.fps, parsed.size, _lens(parsed, footage), parsed.hand_length_mm
        )
        mano = read_mano(parsed.mano) if parsed.mano else None
        read = read_engine_hands(parsed.files, _first(parsed, footage))
        hands = hands_to_import(read, settings, MANO_NAME if mano else OPEN_HAND_NAME)
        from inference_core.exchange.imported_take import imported_take
        from inference_core.hand_model.load import hand_model_of

        take, said = imported_take(hands, parsed.files, hand_model_of(mano), settings)
        for text in said:
            bar.warn(text)
    save_take(take, parsed.out)
    imported = take.meta["imported"]
    print(
        f"From {imported['engine']}; rotations {imported['rotations']}; size: {take.meta['scale']['source']}."
    )
    print(summary(take))
    print(f"Take: {parsed.out}")
    return EXIT_OK


def _export(parsed: argparse.Namespace) -> int:
    from inference_core.request_inputs import mano_inputs
    from inference_core.shared.take import load_take

    suffix = _FORMATS[parsed.format]
    out = parsed.out or parsed.take.with_name(f"{parsed.take.stem}.{parsed.format.split('-')[0]}{suffix}")
    if parsed.format == "pose-format" and parsed.out is None:
        out = parsed.take.with_suffix(".pose")
    check_name(out, (suffix,), f"The file for {parsed.format}")
    check_apart([out], [parsed.take, *mano_inputs(parsed.mano)])
    take = load_take(parsed.take)
    if parsed.format == "openxr":
        from inference_core.exchange.openxr import write_openxr

        write_openxr(take, out)
    elif parsed.format == "pose-format":
        from inference_core.exchange.pose_file import write_pose

        write_pose(take, out)
    else:
        from inference_core.exchange.mano_file import mano_arrays, smplx_arrays, write_arrays
        from inference_core.hand_model.mano_file import read_mano

        mano = read_mano(parsed.mano) if parsed.mano else None
        write_arrays(mano_arrays(take) if parsed.format == "mano-npz" else smplx_arrays(take, mano), out)
    print(f"{parsed.format}: {out}")
    return EXIT_OK


def _footage(parsed: argparse.Namespace, bar: object) -> Footage | None:
    from inference_core.footage import open_footage

    if parsed.footage is None:
        return None
    if parsed.size is not None:
        raise RequestError("The footage determines the size of its pictures; leave out --size.")
    return open_footage(parsed.footage, fps=parsed.fps)


def _first(parsed: argparse.Namespace, footage: Footage | None) -> int | None:
    """The number given; 0 for numbered pictures, whose frames have the numbers in their names."""
    is_numbered = footage is not None and footage.info.kind == "sequence"
    return 0 if parsed.first is None and is_numbered else parsed.first


def _lens(parsed: argparse.Namespace, footage: Footage | None) -> Camera | None:
    """The lens given, or the footage's by its metadata."""
    from inference_core.footage import FootageInfo
    from inference_core.pipeline import camera_of

    given = parsed.fov is not None or parsed.focal_mm is not None or parsed.sensor_mm is not None
    if not given:
        return None
    size_px = footage.info.size_px if footage else parsed.size
    if size_px is None:
        raise RequestError("A lens needs the pictures' size: give --footage or --size.")
    info = FootageInfo("", "movie", size_px, 1.0, range(1), 1.0, "")
    return camera_of(_as_request(parsed), info, lambda _: None)


def _as_request(parsed: argparse.Namespace) -> CaptureRequest:
    """The settings that a capture has as well."""
    return CaptureRequest(
        parsed.footage or "",
        str(parsed.out),
        fps=parsed.fps,
        fov_deg=parsed.fov,
        focal_mm=parsed.focal_mm,
        sensor_mm=parsed.sensor_mm,
        hand_length_mm=parsed.hand_length_mm,
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,5})[xX](\d{2,5})", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError("give width and height, such as 1920x1080")
    return int(found[1]), int(found[2])
