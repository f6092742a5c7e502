# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands `duohand network` (a table; `network run`) and `duohand import-weights`.

Heavy modules are imported when a command runs, not when the parser is built.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inference_core.cli.terminal import print_table
from inference_core.shared.errors import RequestError
from inference_core.shared.whole_file import check_apart, whole_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inference_core.two_hand.records import DirOutput

_COST_NOTES = """One 256x256 crop, a multiply-add counted as two. Parameters as published include
what checkpoints store and never run; GFLOPs as published build the bone projection's map,
which is factored out here with equal results.
"""
_BATCH = 8


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    """Adds `network` and `import-weights`."""
    network = subparsers.add_parser(
        "network", help="show the cost of the two-hand networks; run one on an array"
    )
    actions = network.add_subparsers(dest="network_action", metavar="ACTION")
    run_parser = actions.add_parser("run", help="run the network on normalised crops in an array")
    run_parser.add_argument(
        "--weights", type=Path, required=True, help="folder with weights.safetensors and card.json"
    )
    run_parser.add_argument(
        "--mano", type=Path, help="folder or zip of your MANO files (imported weights need it)"
    )
    run_parser.add_argument(
        "--input", type=Path, required=True, help=".npy, (B, 3, 256, 256) float32, normalised"
    )
    run_parser.add_argument("--output", type=Path, required=True, help=".npz to write")
    importer = subparsers.add_parser("import-weights", help="import the authors' released DIR checkpoint")
    importer.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pth", help="as the authors release it")
    importer.add_argument(
        "--out", type=Path, default=Path("dir-release"), help="folder to write (default: dir-release)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run either command; returns 0. Raises DuohandError."""
    if arguments.command == "import-weights":
        return _import_weights(arguments.checkpoint, arguments.out)
    if arguments.network_action == "run":
        return _run_network(arguments.weights, arguments.mano, arguments.input, arguments.output)
    return _print_table()


def output_arrays(output: DirOutput) -> dict[str, NDArray[np.float32]]:
    """Every stage's arrays under the names that `network run` writes."""
    arrays = {}
    for index, stage in enumerate(output.stages):
        values = {
            "offset": stage.offset_m,
            "parameters": stage.parameters,
            "joints_uv": stage.joints_uv,
            "joints_m": stage.joints_m,
            "vertices_m": stage.vertices_m,
            "presence_logit": stage.presence_logit,
            "log_sigma": stage.log_sigma,
        }
        arrays |= {f"stage{index}/{name}": value for name, value in values.items() if value is not None}
    for name, value in (("dense", output.dense), ("side_scores", output.side_scores)):
        if value is not None:
            arrays[name] = value
    return {name: value.numpy() for name, value in arrays.items()}


def _print_table() -> int:
    from inference_core.hand_model.load import load_open_hand
    from inference_core.two_hand.model_cost import all_costs

    rows = [
        (
            c.name,
            f"{c.stages}",
            f"{c.parameters / 1e6:.1f} M",
            f"{c.published / 1e6:.1f} M",
            f"{c.flops / 1e9:.1f}",
            f"{c.flops_published / 1e9:.1f}",
        )
        for c in all_costs(load_open_hand())
    ]
    print_table(("network", "stages", "parameters", "as published", "GFLOPs", "as published"), rows)
    sys.stdout.write(_COST_NOTES)
    return 0


def _import_weights(checkpoint: Path, out: Path) -> int:
    from inference_core.two_hand.release import import_release

    network = import_release(checkpoint, out)
    count = sum(parameter.numel() for parameter in network.parameters())
    sys.stdout.write(
        f"Imported {count / 1e6:.1f} M parameters into {out}. They need your MANO files: --mano DIR.\n"
    )
    return 0


def _run_network(weights: Path, mano: Path | None, source: Path, target: Path) -> int:
    import numpy as np

    from inference_core.hand_model.arrays import MANO_NAME, OPEN_HAND_NAME
    from inference_core.hand_model.mano_file import read_mano
    from inference_core.request_inputs import mano_inputs, weights_inputs
    from inference_core.two_hand.card import check_hand, check_weights
    from inference_core.two_hand.picture import check_picture

    check_apart([target], [source, *weights_inputs(weights), *mano_inputs(mano)])
    card = check_weights(weights)
    hands = None if mano is None else read_mano(mano)
    check_hand(card, OPEN_HAND_NAME if hands is None else MANO_NAME)
    pictures = _read_pictures(source)
    check_picture(pictures)
    import torch  # once the files are known to be whole

    from inference_core.hand_model.load import hand_model_of
    from inference_core.two_hand.predictor import fitting_hand
    from inference_core.two_hand.weights import load_weights

    hand = fitting_hand(card, hand_model_of(hands)).tensors()
    (network, _), image = load_weights(weights), torch.from_numpy(pictures)
    parts = []
    with torch.no_grad():
        for first in range(0, len(image), _BATCH):
            parts.append(output_arrays(network(image[first : first + _BATCH], hand)))
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    try:
        with whole_file(target) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    except OSError as error:
        raise RequestError(f"{target} cannot be written: {error.strerror or error}.") from error
    sys.stdout.write(f"Wrote {len(arrays)} arrays of {len(image)} pictures to {target}.\n")
    return 0


def _read_pictures(path: Path) -> NDArray[np.float32]:
    import numpy as np

    from inference_core.shared.npz import read_npy_header

    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        with path.open("rb") as file:
            header = read_npy_header(file)
        if header.start + header.nbytes != path.stat().st_size:
            raise ValueError("its header does not fit its bytes")
        if header.dtype != np.float32:
            raise ValueError(
                f"it holds {header.dtype}, not the required float32 (B, 3, 256, 256), normalised"
            )
        return np.ascontiguousarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} is not a readable .npy array ({error}).") from error
