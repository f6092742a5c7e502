# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact network's pairs, errors and training."""

import numpy as np
import pytest
import torch

from inference_core.fitting import contact_network
from inference_core.hand_model.load import load_open_hand
from training.contact_network.fit_errors import fitted
from training.contact_network.network import ContactNetwork
from training.contact_network.pairs import Pairs, Skeletons, before_a_camera, draw_pairs
from training.contact_network.train import trained


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return draw_pairs(seed=5, count=384)


@pytest.fixture(scope="module")
def skeletons() -> Skeletons:
    return Skeletons.of(load_open_hand())


def test_joints_match_the_hand_model(pairs: Pairs, skeletons: Skeletons) -> None:
    some = pairs.take(torch.arange(8))
    hand = load_open_hand().tensors()
    rotations = torch.cat([some.root[:, :, None], hand.rotations_from_angles(some.angles_rad)], 2)
    posed = hand.with_shape(some.betas).with_pose(rotations, some.wrist_m)
    assert float((posed.joints21_m - skeletons.joints_m(some)).norm(dim=-1).max()) < 0.003


def test_pairs_that_touch_have_capsules_that_touch(pairs: Pairs, skeletons: Skeletons) -> None:
    least_m = skeletons.gaps_m(skeletons.joints_m(pairs)).flatten(1).amin(1)
    assert float((least_m[pairs.touching] < 0.006).float().mean()) > 0.85


def test_simulated_fits_err_mostly_in_depth(pairs: Pairs, skeletons: Skeletons) -> None:
    held = before_a_camera(pairs, torch.Generator().manual_seed(1))
    seen = fitted(held, skeletons, torch.Generator().manual_seed(2))
    error_m = torch.from_numpy(seen.joints_m) - skeletons.joints_m(held)
    across_m, along_m = error_m[..., :2].norm(dim=-1).median(), error_m[..., 2].abs().median()
    assert float(across_m) < float(along_m)


def test_a_few_steps_reduce_the_error(pairs: Pairs) -> None:
    assert trained(pairs, 60)[1] < trained(pairs, 1)[1]


def test_the_solve_computes_what_was_trained() -> None:
    torch.manual_seed(3)
    network = ContactNetwork().eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    inputs, meetings = torch.randn(5, contact_network.INPUTS), torch.randn(5, *network.prior.shape, 4)
    expected = network(inputs, meetings).detach().numpy()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    found = contact_network.ContactNetwork(weights).log_odds(inputs.numpy(), meetings.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
