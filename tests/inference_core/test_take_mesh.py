# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin computed from a take alone equals the hand model's."""

import dataclasses

import numpy as np

from inference_core.hand_model.load import load_open_hand
from inference_core.shared.quaternions import exp, to_matrix
from inference_core.shared.take import check_take
from inference_core.shared.take_mesh import posed_vertices
from tests.sample_take import sample_take


def test_the_skin_from_a_take_equals_the_hand_models() -> None:
    model = load_open_hand()
    rng = np.random.default_rng(3)
    betas = rng.normal(size=(2, 10))
    shaped = model.with_shape(betas)
    wxyz = exp(rng.normal(scale=0.5, size=(2, 16, 3)))
    wrist_m = rng.normal(size=(2, 3), loc=(0, 0, 2))
    posed = shaped.with_pose(to_matrix(wxyz), wrist_m)
    take = dataclasses.replace(
        sample_take(1),
        root_wxyz=wxyz[None, :, 0],
        pose_wxyz=wxyz[None, :, 1:],
        wrist_cam_m=wrist_m[None],
        rest_vertices_m=shaped.rest_vertices_m,
        rest_joints_m=shaped.rest_joints_m,
        faces=model.faces,
        skin_weights=model.skin_weights,
        pose_dirs=model.pose_dirs,
        tip_vertices=model.tip_vertices,
    )
    check_take(take)
    vertices = posed_vertices(take, 0)
    np.testing.assert_allclose(vertices, posed.vertices_m, atol=1e-9)
    tips = np.take_along_axis(vertices, take.tip_vertices[..., None].astype(np.int64), 1)
    np.testing.assert_allclose(tips, posed.joints21_m[:, [4, 8, 12, 16, 20]], atol=1e-9)


def test_an_absent_hand_has_no_skin() -> None:
    present = np.array([[1, 0]], np.uint8)
    vertices = posed_vertices(sample_take(1, present), 0)
    assert np.isfinite(vertices[0]).all()
    assert np.isnan(vertices[1]).all()
