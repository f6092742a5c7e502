# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of training. docs/training.md has the recipes.

    python -m training train PRESET [--overrides]           a network; the same command resumes a run
    python -m training evaluate KIND SUBJECT                weights, takes, or another method's predictions
    python -m training generate pictures|crops|pair-views|pair-choices|demo-clip|contact-sheet OUT
    python -m training contact-network OUT.safetensors      predicts which parts of two hands touch
    python -m training partner-network OUT.safetensors      predicts where a hand's other hand is
    python -m training pair-detector OUT.safetensors        proposes hands, where they touch too
    python -m training pair-choice OUT.safetensors          chooses both hands of a picture among readings
    python -m training cache make|refine SET                the features of a frozen backbone, computed once
    python -m training convert KIND ...                     networks, hands, data sets and checkpoints from elsewhere

Each has `--help`. Several GPUs: torchrun --nproc-per-node=8 -m training train PRESET.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile

from inference_core.shared.errors import DuohandError, reason_of

# The modules of each command: one that adds its arguments, or one for each kind. Only the requested one is imported,
# because they need different packages.
COMMANDS: dict[str, str | dict[str, str]] = {
    "evaluate": "training.evaluation.evaluate",
    "generate": {
        "pictures": "training.synthetic.pictures",
        "crops": "training.hand_crops.make",
        "pair-views": "training.pair_detector.make",
        "pair-choices": "training.pair_choice.make",
        "demo-clip": "training.synthetic.demo_clip",
        "contact-sheet": "training.synthetic.touching.sheet",
    },
    "cache": {"make": "training.feature_cache.make", "refine": "training.feature_cache.refine"},
    "contact-network": "training.contact_network.train",
    "partner-network": "training.partner_network.train",
    "pair-detector": "training.pair_detector.train",
    "pair-choice": "training.pair_choice.train",
    "convert": {
        "landmarks": "training.convert.landmarks",
        "landmark-offsets": "training.convert.landmark_offsets",
        "landmark-corrections": "training.convert.landmark_corrections",
        "open-hand": "training.convert.open_hand",
        "backbone": "training.convert.backbone",
        "weight-parts": "training.convert.weight_parts",
        "checkpoint-parts": "training.trainer.checkpoint_parts",
        "data-set": "training.data.prepare",
    },
}
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 2 an error that the user can fix, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = _parser().parse_args(given[:1]).command
    try:
        if command == "train":
            _train(given[1:])
        else:
            _run(command, given[1:])
    except DuohandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{reason_of(error)}. Check the path and the room on its disk.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; run the same command again to continue.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", *COMMANDS))
    return parser


def _run(command: str, arguments: list[str]) -> None:
    modules, prog = COMMANDS[command], f"python -m training {command}"
    if isinstance(modules, dict):
        kinds = argparse.ArgumentParser(prog=prog)
        kinds.add_argument("kind", choices=tuple(modules))
        kind = kinds.parse_args(arguments[:1]).kind
        modules, prog, arguments = modules[kind], f"{prog} {kind}", arguments[1:]
    module = import_module(modules)
    parser = argparse.ArgumentParser(
        prog=prog, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    if command == "generate":
        _prepare(options.out)
    module.run(options)


def _prepare(folder: Path) -> None:
    """Makes the folder. Raises OSError if no file can be written to it, which hours of work would find out too late."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        file.write(b"0")


def _train(arguments: list[str]) -> None:
    import tyro

    from training.config import Experiment, HeadExperiment
    from training.presets import DESCRIPTIONS, LANDMARK_HEAD, PRESETS
    from training.trainer.experiment import chosen_device, run_experiment
    from training.trainer.landmark_head import train_head

    presets: dict[str, tuple[str, Experiment | HeadExperiment]] = {
        name: (DESCRIPTIONS[name], preset) for name, preset in PRESETS.items()
    }
    presets[LANDMARK_HEAD.name] = ("the landmark head, on hand crops", LANDMARK_HEAD)
    experiment = tyro.extras.overridable_config_cli(presets, prog="python -m training train", args=arguments)
    if isinstance(experiment, HeadExperiment):
        result = train_head(experiment, chosen_device(experiment.run.device))
    else:
        result = run_experiment(experiment)
    state = "complete" if result.complete else "to be resumed by the same command"
    done = f"{result.steps} steps, {result.samples} samples, {result.elapsed_s:.0f} s"
    print(f"{experiment.name}: {done}; {state}.")


if __name__ == "__main__":
    sys.exit(main())
