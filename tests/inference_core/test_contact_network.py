# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of two hands touch, according to the bundled network."""

import numpy as np
import pytest
from scipy.special import expit

from inference_core.fitting import contact, contact_network
from inference_core.fitting.capsules import Capsules, fit_capsules
from inference_core.fitting.contact_network import FittedPairs, load_contact_network, touching_log_odds
from inference_core.fitting.parameterisation import make_parameterisation
from inference_core.geometry.rotations import exp
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.skeleton import FINGERS

_HELD_M, _BETWEEN_M = 0.45, 0.014


@pytest.fixture(scope="module")
def praying() -> FittedPairs:
    """Flat hands palm to palm, edge-on to the camera, one finger's width between the bones."""
    flat = np.tile(np.eye(3), (2, 16, 1, 1))
    # A right hand rests with its fingers along -x and its palm down; a left one is its mirror image.
    flat[0, 0] = exp(np.array([0.0, 0.0, np.pi / 2]))
    flat[1, 0] = exp(np.array([0.0, 0.0, -np.pi / 2]))
    joints_m = load_open_hand().with_shape(np.zeros((2, 10))).with_pose(flat, np.zeros((2, 3))).joints21_m
    apart_m = np.array([[-_BETWEEN_M / 2, 0.0, _HELD_M], [_BETWEEN_M / 2, 0.0, _HELD_M]])
    middles_m = (joints_m[:, 9] * [1.0, 0.0, 0.0])[:, None]
    joints_m = joints_m - middles_m + apart_m[:, None]
    return FittedPairs(joints_m[None], np.full((1, 2), 0.8), np.zeros((1, 3)), np.zeros((1, 2)))


@pytest.fixture(scope="module")
def capsules() -> Capsules:
    return fit_capsules(load_open_hand(), make_parameterisation(load_open_hand(), np.zeros((2, 10))))


def test_hands_laid_together_touch_with_matching_fingers(praying: FittedPairs, capsules: Capsules) -> None:
    network = load_contact_network()
    assert network is not None
    tips = list(contact.TIP_CAPSULES)
    log_odds = touching_log_odds(network, praying, capsules)[0][tips][:, tips]
    fingers = slice(FINGERS.index("index"), None)
    assert (log_odds.argmax(1)[fingers] == np.arange(5)[fingers]).all()


def test_mirroring_swaps_the_hands(praying: FittedPairs, capsules: Capsules) -> None:
    network = load_contact_network()
    assert network is not None
    # Both hands of a mean shape are as wide, but for rounding.
    even = Capsules(capsules.ends, np.broadcast_to(capsules.radii_m.mean(0), capsules.radii_m.shape))
    plain = touching_log_odds(network, praying, even)
    mirrored = touching_log_odds(network, praying.mirrored(), even)
    np.testing.assert_allclose(np.swapaxes(mirrored, 1, 2), plain, atol=1e-3, rtol=0)


def test_the_pairs_place_in_the_picture_does_not_matter(praying: FittedPairs, capsules: Capsules) -> None:
    """A camera that turns about its pinhole sees the same pair."""
    network = load_contact_network()
    assert network is not None
    turn = exp(np.array([0.0, 0.35, 0.0]))
    turned = FittedPairs(
        praying.joints_m @ turn.T, praying.score, praying.offset_m @ turn.T, praying.confidence
    )
    plain, aside = (touching_log_odds(network, pairs, capsules) for pairs in (praying, turned))
    assert np.abs(expit(aside) - expit(plain)).max() < 0.1


def test_a_missing_file_means_no_contact_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_network, "WEIGHTS", contact_network.WEIGHTS.with_name("absent.safetensors"))
    load_contact_network.cache_clear()
    try:
        assert load_contact_network() is None
    finally:
        load_contact_network.cache_clear()
