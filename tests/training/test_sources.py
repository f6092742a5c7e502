# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources give the same batch number k from wherever they start, and processes share them without overlap."""

import pytest
import torch

from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import RequestError
from tests.training.made_samples import MemorySource, made_sample
from training.data.augment import NO_AUGMENTATION
from training.data.conditioning_noise import ConditioningNoise
from training.data.sample import concatenated, uv_from_camera
from training.data.shard_source import ShardSource
from training.data.sources import PreparedSource, stream_seed
from training.data.synthetic_source import SyntheticSource, validation_samples
from training.distributed import World
from training.synthetic.settings import Settings
from training.synthetic.shards import Stream, write_shards

CPU = torch.device("cpu")
SCENES = Settings(backgrounds=2)


def _third_batch_is_the_same_from_there_on(source) -> bool:
    straight = source.batches(0)
    third = [next(straight) for _ in range(3)][2]
    again = next(source.batches(2))
    parts = [(sample.image, sample.joints_uv, sample.conditioning) for sample in (third, again)]
    same = torch.equal(parts[0][0], parts[1][0]) and torch.equal(parts[0][1], parts[1][1])
    if parts[0][2] is None:
        return same
    pairs = zip(vars(parts[0][2]).values(), vars(parts[1][2]).values(), strict=True)
    return same and all(torch.equal(a, b) for a, b in pairs)


def test_batches_do_not_depend_on_the_first_step():
    memory = MemorySource(made_sample(5), 2, 3)
    assert _third_batch_is_the_same_from_there_on(memory)
    assert _third_batch_is_the_same_from_there_on(
        PreparedSource(memory, NO_AUGMENTATION, ConditioningNoise(), 4)
    )


def test_processes_share_an_epoch_with_every_sample_once():
    samples = made_sample(6)
    whole = MemorySource(samples, 6, 1)
    assert torch.equal(next(whole.batches(0)).K.sum(), samples.K.sum())
    halves = [MemorySource(samples, 6, 1, World(rank, 2)) for rank in (0, 1)]
    joined = concatenated([next(half.batches(4)) for half in halves])
    whole_step = next(iter(_steps(whole, 4)))
    assert torch.equal(joined.image, whole_step.image)


def test_synthetic_pictures_are_split_among_processes_without_validation():
    hand = load_open_hand().tensors()
    whole = next(SyntheticSource(SCENES, hand, 2, 1, CPU).batches(1))
    halves = [next(SyntheticSource(SCENES, hand, 2, 1, CPU, World(rank, 2)).batches(1)) for rank in (0, 1)]
    together = concatenated(halves)
    assert torch.equal(together.present, whole.present)
    assert (together.joints_uv - whole.joints_uv)[whole.present].abs().max() < 1e-4
    assert not torch.equal(validation_samples(SCENES, hand, 2, CPU).joints_uv, whole.joints_uv)
    points = whole.joints_rel_m + whole.wrist_cam_m[:, :, None]
    again = uv_from_camera(points, whole.K[:, None], 256)
    assert (again - whole.joints_uv)[whole.present].abs().max() < 1e-4
    assert (whole.K[:, :2, 2] - 128).abs().max() < 1e-2, "the crop's camera hand_crops at its middle"


def test_batches_larger_than_a_shard_are_refused(tmp_path):
    write_shards(tmp_path, Stream(seed=5, count=4, shard_pictures=2, settings=SCENES))
    hand = load_open_hand().tensors()
    source = ShardSource(tmp_path, hand, 1, 0, 0, CPU)
    assert _third_batch_is_the_same_from_there_on(source)
    batches = source.batches(0)
    first_epoch = torch.stack([next(batches).wrist_cam_m.sum() for _ in range(4)])
    assert len(first_epoch.unique()) == 4, "every picture once"
    with pytest.raises(RequestError, match="larger than the shards"):
        next(ShardSource(tmp_path, hand, 3, 0, 0, CPU).batches(0))


def test_every_purpose_step_and_process_has_its_own_seed():
    seeds = {stream_seed(a, b, c, d) for a in (1, 2, 3) for b in (0, 1) for c in (0, 1, 2) for d in (0, 1)}
    assert len(seeds) == 3 * 2 * 3 * 2


def _steps(source, first):
    yield next(source.batches(first))
