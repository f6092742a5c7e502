# SPDX-License-Identifier: GPL-3.0-or-later
"""Degraded conditioning has the failures asked for, in the shares asked for, and says 0 where it says nothing."""

from dataclasses import replace

import torch

from inference_core.two_hand.records import Conditioning
from tests.training.made_samples import made_sample
from training.data.conditioning_noise import NO_CONDITIONING, ConditioningNoise, degraded_conditioning
from training.data.sample import Sample, overlap

PERFECT = ConditioningNoise(**dict.fromkeys(ConditioningNoise.__dataclass_fields__, 0.0))


def _conditioning(sample: Sample, noise: ConditioningNoise, seed: int = 0) -> Conditioning:
    return degraded_conditioning(sample, noise, torch.Generator().manual_seed(seed))


def _at_one_place(sample: Sample) -> Sample:
    """Hands drawn over each other."""
    return replace(sample, joints_uv=sample.joints_uv - sample.joints_uv.mean(dim=2, keepdim=True))


def test_without_any_noise_the_landmarks_are_the_truth():
    sample = made_sample(4)
    conditioning = _conditioning(sample, PERFECT)
    assert sample.landmarks_uv is not None and sample.landmarks_rel_m is not None
    assert torch.allclose(conditioning.landmarks_uv, sample.landmarks_uv, atol=1e-5)
    lengths = (conditioning.world_rel_m.norm(dim=-1), sample.landmarks_rel_m.norm(dim=-1))
    assert torch.allclose(*lengths, atol=1e-5), "only turned, towards the line of sight"
    assert (conditioning.hand_score > 0).all() and torch.allclose(
        conditioning.focal_uv, sample.K[:, 0, 0] / 128
    )


def test_fitted_hands_are_in_the_crops_axes():
    sample = made_sample(6)
    conditioning = _conditioning(sample, replace(PERFECT, fitted=True))
    assert sample.landmarks_rel_m is not None
    torch.testing.assert_close(conditioning.world_rel_m, sample.landmarks_rel_m, atol=1e-5, rtol=0)


def test_dropped_conditioning_contains_no_information():
    conditioning = _conditioning(made_sample(4), NO_CONDITIONING)
    for name in ("landmarks_uv", "landmark_score", "world_rel_m", "hand_score", "side_score"):
        assert (getattr(conditioning, name) == 0).all(), name


def test_about_a_third_is_dropped_and_false_positives_are_rare():
    sample = made_sample(200, absent=True)
    conditioning = _conditioning(sample, ConditioningNoise())
    found = conditioning.hand_score > 0
    assert 0.25 < 1 - found[sample.both_present].any(dim=1).float().mean() < 0.5
    assert found[~sample.present].float().mean() < 0.1


def test_overlapping_hands_are_lost_more_often():
    sample = made_sample(150)
    noise = replace(ConditioningNoise(), dropped=0.0)
    apart, together = (_conditioning(s, noise).hand_score >= 0.5 for s in (sample, _at_one_place(sample)))
    assert overlap(_at_one_place(sample).joints_uv, sample.present).min() > 0.2
    assert apart.float().mean() - together.float().mean() > 0.15


def test_missing_values_are_zero_and_scores_within_0_and_1():
    conditioning = _conditioning(made_sample(100, absent=True), ConditioningNoise())
    missing = conditioning.landmark_score == 0
    assert missing.any()
    assert (conditioning.landmarks_uv[missing] == 0).all() and (conditioning.world_rel_m[missing] == 0).all()
    for name in ("landmark_score", "hand_score", "side_score"):
        scores = getattr(conditioning, name)
        assert scores.min() >= 0 and scores.max() <= 1
    for value in vars(conditioning).values():
        assert value.isfinite().all()


def test_swapped_sides_and_collapsed_landmarks_are_as_described():
    sample = made_sample(40)
    swapped = _conditioning(sample, replace(PERFECT, swapped=1.0))
    assert sample.landmarks_uv is not None
    assert torch.allclose(swapped.landmarks_uv, sample.landmarks_uv.flip(1), atol=1e-5)
    assert swapped.side_score.mean() < 0.5
    collapsed = _conditioning(sample, replace(PERFECT, collapsed=1.0))
    distance = (collapsed.landmarks_uv[:, 0] - collapsed.landmarks_uv[:, 1]).norm(dim=-1).mean(dim=-1)
    assert distance.max() < 0.1, "both sets lie on one hand"


def test_errors_have_the_measured_size():
    sample = made_sample(200)
    conditioning = _conditioning(
        sample, replace(ConditioningNoise(), dropped=0.0, swapped=0.0, collapsed=0.0)
    )
    assert sample.landmarks_uv is not None
    known = conditioning.landmark_score > 0
    size = (sample.landmarks_uv.amax(2) - sample.landmarks_uv.amin(2)).norm(dim=-1)[..., None]
    error = ((conditioning.landmarks_uv - sample.landmarks_uv).norm(dim=-1) / size)[known]
    assert 0.02 < error.median() < 0.07


def test_the_same_generator_state_gives_the_same_conditioning():
    sample = made_sample(5)
    first, second = (
        _conditioning(sample, ConditioningNoise(), 7),
        _conditioning(sample, ConditioningNoise(), 7),
    )
    assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))


def test_a_lost_hand_is_interpolated_with_a_lower_score_than_found_ones():
    sample = made_sample(200)
    always = replace(
        PERFECT, lost=0.85, interpolated=1.0, interpolated_frames=12.0, interpolated_shift=0.06, joint=0.01
    )
    conditioning = _conditioning(sample, always)
    told = conditioning.hand_score < 0.5
    assert (conditioning.hand_score > 0).all() and 0.7 < told.float().mean() < 0.95
    assert sample.landmarks_uv is not None
    off = (conditioning.landmarks_uv - sample.landmarks_uv).norm(dim=-1).mean(-1)
    assert off[told].mean() > 5 * off[~told].mean()
    near, far = conditioning.hand_score[told] > 0.3, conditioning.hand_score[told] < 0.2
    assert off[told][far].mean() > 1.3 * off[told][near].mean(), (
        "the farther the frame, the more it has moved"
    )
    unheard = _conditioning(sample, replace(always, interpolated=0.0))
    assert ((unheard.hand_score == 0) == told).all()


def test_detected_landmarks_are_kept_unless_lost():
    sample = made_sample(100)
    score = torch.full((100, 2, 21), 0.9)
    found = Conditioning(
        torch.full((100, 2, 21, 2), 0.3),
        score,
        torch.full((100, 2, 21, 3), 0.01),
        score[..., 0],
        score[..., 0],
        torch.ones(100),
    )
    kept = _conditioning(replace(sample, conditioning=found), PERFECT)
    assert (kept.landmarks_uv == 0.3).all() and (kept.hand_score == 0.9).all()
    lost = _conditioning(replace(sample, conditioning=found), replace(PERFECT, lost=0.5))
    assert 0.3 < (lost.hand_score == 0).float().mean() < 0.7
