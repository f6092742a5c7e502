# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss terms against the release's values, their gradients, and the laws that absent hands must keep."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.trainer import losses

RELEASE = Path(__file__).parents[1] / "data" / "dir_release" / "losses.npz"


@pytest.fixture(scope="module")
def release() -> dict[str, Tensor]:
    with np.load(RELEASE) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.mark.parametrize(
    ("name", "term"), [("edge", losses.edge_length), ("normal", losses.normal_consistency)]
)
def test_mesh_losses_equal_the_release(release, name, term):
    value = term(release["pred"], release["target"], release["faces"])
    assert value.item() == pytest.approx(release[name].item(), rel=1e-6)


def test_smooth_l1_and_cross_entropy_equal_the_release(release):
    assert losses.smooth_l1(release["pred"], release["target"]).item() == pytest.approx(
        release["smooth_l1"].item(), rel=1e-6
    )
    value = losses.cross_entropy(release["seg_logits"], release["seg_target"])
    assert value.item() == pytest.approx(release["cross_entropy"].item(), rel=1e-6)


def test_lovasz_equals_the_release_only_when_fed_raw_scores_as_the_release_does(release):
    scores, labels = release["seg_logits"], release["seg_target"]
    assert losses.lovasz_softmax(scores, labels).item() == pytest.approx(
        release["lovasz_softmax"].item(), rel=1e-5
    )
    ours = losses.lovasz_softmax(scores.softmax(1), labels).item()
    assert 0 <= ours <= 1
    assert abs(ours - release["lovasz_softmax"].item()) > 0.5


def test_lovasz_of_hard_predictions_is_the_jaccard_loss():
    generator = torch.Generator().manual_seed(3)
    labels, guessed = torch.randint(0, 3, (2, 2, 8, 8), generator=generator)
    certain = torch.nn.functional.one_hot(guessed, 3).movedim(-1, 1).float()
    jaccard = [
        ((labels == c) & (guessed == c)).sum() / ((labels == c) | (guessed == c)).sum() for c in range(3)
    ]
    assert losses.lovasz_softmax(certain, labels).item() == pytest.approx(
        1 - torch.stack(jaccard).mean().item(), abs=1e-6
    )


def test_mesh_losses_pass_gradcheck():
    generator = torch.Generator().manual_seed(5)
    target = torch.randn(2, 2, 6, 3, generator=generator, dtype=torch.float64)
    vertices = (
        target + 0.3 * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    ).requires_grad_()
    faces = torch.tensor([[[0, 1, 2], [2, 3, 4], [1, 5, 3]], [[2, 1, 0], [4, 3, 2], [3, 5, 1]]])
    mask = torch.tensor([[True, False], [True, True]])
    for term in (losses.edge_length, losses.normal_consistency):
        assert torch.autograd.gradcheck(lambda v, term=term: term(v, target, faces, mask), vertices)


def test_degenerate_faces_and_coincident_vertices_give_finite_gradients():
    vertices = torch.zeros(1, 4, 3, requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [1, 1, 3]])
    target = torch.zeros(1, 4, 3)
    total = losses.edge_length(vertices, target, faces) + losses.normal_consistency(vertices, target, faces)
    total.backward()
    assert vertices.grad is not None and vertices.grad.isfinite().all()


def test_each_side_uses_its_own_faces(release):
    both = {name: torch.stack([release[name], release[name] * 1.5], dim=1) for name in ("pred", "target")}
    faces = torch.stack([release["faces"], release["faces"].flip(-1)])
    value = losses.edge_length(both["pred"], both["target"], faces)
    assert value.item() == pytest.approx(release["edge"].item() * 1.25, rel=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 4))
def test_absent_hands_affect_no_loss_and_get_no_gradient(seed, batch):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(batch, 2, 21, 3, generator=generator)
    prediction = torch.randn(batch, 2, 21, 3, generator=generator).requires_grad_()
    mask = torch.rand(batch, 2, generator=generator) > 0.5
    losses.smooth_l1(prediction, target, mask).backward()
    assert prediction.grad is not None
    assert (prediction.grad[~mask] == 0).all()
    spoiled = torch.where(mask[..., None, None], target, torch.full_like(target, 1e6))
    assert (
        losses.smooth_l1(prediction, spoiled, mask).item()
        == losses.smooth_l1(prediction, target, mask).item()
    )


def test_masked_mean_over_two_halves_is_the_mean_of_the_joined_batch():
    values, mask = torch.rand(6, 2, 5), torch.tensor([[1, 0], [0, 0], [1, 1], [1, 1], [0, 1], [1, 1]]).bool()
    halves = [losses.masked_mean(values[rows], mask[rows]) for rows in (slice(0, 3), slice(3, 6))]
    assert torch.stack(halves).mean().item() == pytest.approx(losses.masked_mean(values, mask).item())


def test_uncertainty_is_optimal_at_the_error_and_gives_it_no_gradient():
    errors = torch.tensor([[0.02, 0.1]], requires_grad=True)
    log_scale = errors.detach().log().requires_grad_()
    losses.uncertainty_nll(errors, log_scale).backward()
    assert log_scale.grad is not None and log_scale.grad.abs().max() < 1e-6
    assert errors.grad is None


def test_rotation_distance_is_one_for_a_half_turn():
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    assert losses.rotation_distance(half_turn[None], torch.eye(3)[None]).item() == pytest.approx(
        1.0, abs=1e-5
    )
    assert losses.rotation_distance(torch.eye(3)[None], torch.eye(3)[None]).item() < 1e-5
