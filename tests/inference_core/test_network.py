# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the two-hand network: sides, batches, gradients, the factored projection, the cost of each graph."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from inference_core.geometry.mirror import mirror
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import WeightsError
from inference_core.shared.skeleton import PARENTS_21
from inference_core.two_hand.batch_norm_fusion import with_fused_norms
from inference_core.two_hand.bone_projection import BoneProjection, bone_map, bone_weights
from inference_core.two_hand.configuration import DIR_PAPER, DIR_RELEASE, DIR_S, NetworkConfiguration
from inference_core.two_hand.dir import BACKBONES, DirNetwork
from inference_core.two_hand.model_cost import cost
from inference_core.two_hand.records import Conditioning, DirOutput

# Small, but made of every part of the released graph behind its backbone.
SMALL = NetworkConfiguration(
    "small",
    "efficientnet_lite0",
    "light",
    visual_channels=16,
    joint_channels=16,
    projected_channels=8,
    graph_layers=2,
    transformer_blocks=1,
    attention_channels=8,
    pose="angles",
)


@pytest.fixture(scope="module")
def hand() -> HandModel:
    return load_open_hand().tensors()


def network_of(configuration: NetworkConfiguration, seed: int = 0) -> DirNetwork:
    torch.manual_seed(seed)
    return DirNetwork(configuration)


def some_conditioning(batch: int) -> Conditioning:
    generator = torch.Generator().manual_seed(5)

    def noise(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator)

    ones = torch.ones(batch, 2)
    world = noise(2, 21, 3) * 0.04
    return Conditioning(
        world[..., :2] * 5, torch.ones(batch, 2, 21), world, ones, ones, torch.full((batch,), 5.0)
    )


def all_of(output: DirOutput) -> list[Tensor]:
    values = [value for stage in output.stages for value in vars(stage).values() if value is not None]
    return [*values, *(value for value in (output.dense, output.side_scores) if value is not None)]


# The released graph behind its backbone, narrower: full attention, final convolution, no presence.
NARROW_RELEASE = dataclasses.replace(
    DIR_RELEASE, visual_channels=32, joint_channels=16, projected_channels=8, name="narrow"
)


@pytest.mark.parametrize("configuration", [DIR_S, NARROW_RELEASE], ids=lambda c: c.name)
def test_gradients_reach_every_parameter(configuration: NetworkConfiguration, hand: HandModel) -> None:
    network = network_of(configuration).train()
    output = network(
        torch.randn(2, 3, 256, 256), hand, some_conditioning(2) if configuration.conditioning else None
    )
    torch.stack([(value * torch.randn_like(value)).sum() for value in all_of(output)]).sum().backward()
    # A bias that batch norm follows is taken out again by it: its gradient is zero but for rounding.
    dead = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert dead == []
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)
    zero = [n for n, p in network.named_parameters() if p.grad is not None and not p.grad.any()]
    assert zero == []


def test_results_do_not_depend_on_the_batch_size(hand: HandModel) -> None:
    network, image, conditioning = network_of(DIR_S).eval(), torch.randn(3, 3, 256, 256), some_conditioning(3)
    with torch.no_grad():
        many = all_of(network(image, hand, conditioning))
        for index in range(3):
            rows = slice(index, index + 1)
            one = all_of(network(image[rows], hand, conditioning.map(lambda value, rows=rows: value[rows])))
            for alone, among in zip(one, many, strict=True):
                torch.testing.assert_close(alone, among[rows], atol=1e-4, rtol=1e-4)


def test_only_training_uses_batch_statistics(hand: HandModel) -> None:
    network, image = network_of(SMALL), torch.randn(2, 3, 256, 256)
    network.train()
    first = network(image, hand, vertices=False).answer.joints_m
    with torch.no_grad():
        torch.testing.assert_close(first, network(image, hand, vertices=False).answer.joints_m)
        network.eval()
        evaluated = network(image, hand, vertices=False).answer.joints_m
    assert not torch.allclose(first, evaluated)


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_the_number_of_stages_is_selectable(stages: int, hand: HandModel) -> None:
    network = network_of(SMALL.with_stages(stages)).eval()
    with torch.no_grad():
        output = network(torch.randn(1, 3, 256, 256), hand)
    assert len(output.stages) == stages + 1
    assert (output.dense is None) == (stages == 0)
    assert output.answer.vertices_m is not None
    assert output.answer.vertices_m.shape == (1, 2, hand.template_m.shape[1], 3)


def test_three_stages_are_refused() -> None:
    with pytest.raises(WeightsError, match="0, 1 or 2"):
        DIR_S.with_stages(3)


def test_a_network_without_conditioning_uses_the_picture_alone(hand: HandModel) -> None:
    network, image = network_of(DIR_S).eval(), torch.randn(2, 3, 256, 256)
    with torch.no_grad():
        missing, none = network(image, hand), network(image, hand, Conditioning.none(2, torch.zeros))
    for first, second in zip(all_of(missing), all_of(none), strict=True):
        torch.testing.assert_close(first, second, atol=0, rtol=0)
        assert bool(torch.isfinite(first).all())


def test_joints_do_not_need_the_mesh(hand: HandModel) -> None:
    network, image = network_of(SMALL).eval(), torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        with_mesh, without = network(image, hand).answer, network(image, hand, vertices=False).answer
    assert without.vertices_m is None and without.vertices_uv is None
    torch.testing.assert_close(with_mesh.joints_m, without.joints_m)


def test_half_precision_keeps_the_hands_in_float32(hand: HandModel) -> None:
    network = network_of(DIR_S).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        stage = network(torch.randn(1, 3, 256, 256), hand, some_conditioning(1)).answer
    assert {value.dtype for value in vars(stage).values()} == {torch.float32}
    identity = stage.rotations @ stage.rotations.mT
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-5, rtol=0)


@pytest.mark.parametrize("configuration", [DIR_S, NARROW_RELEASE], ids=lambda c: c.name)
def test_fusing_batch_norm_does_not_change_results(
    configuration: NetworkConfiguration, hand: HandModel
) -> None:
    network = network_of(configuration)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.get_buffer("running_var").uniform_(0.8, 1.2)
    image, conditioning = (
        torch.randn(1, 3, 256, 256),
        some_conditioning(1) if configuration.conditioning else None,
    )
    with torch.no_grad():
        plain = network.eval()(image, hand, conditioning)
        quick = with_fused_norms(network, winograd=True)(image, hand, conditioning)
    for first, second in zip(all_of(plain), all_of(quick), strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    left = [
        name
        for name, m in with_fused_norms(network).named_modules()
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    assert all(name.endswith("norm1") for name in left), "only norms before their convolution may stay"


def test_the_factored_projection_equals_the_rendered_map() -> None:
    torch.manual_seed(3)
    fast = BoneProjection(8, 12, size=16, reach_px=1.0).eval()
    plain = BoneProjection(8, 12, size=16, reach_px=1.0, as_published=True).eval()
    plain.load_state_dict(fast.state_dict())
    features, uv = torch.randn(3, 2, 21, 8), torch.rand(3, 2, 21, 2) * 2.4 - 1.2
    torch.testing.assert_close(fast(features, uv), plain(features, uv), atol=1e-5, rtol=1e-5)


def test_the_rendered_map_equals_the_papers_pixel_by_pixel() -> None:
    torch.manual_seed(4)
    size, reach_px = 8, 1.5
    uv, features = (
        torch.rand(1, 2, 21, 2, dtype=torch.float64) * 2 - 1,
        torch.randn(1, 2, 21, 3, dtype=torch.float64),
    )
    parents = torch.from_numpy(PARENTS_21[1:].copy())
    ends = torch.stack([features[:, :, parents], features[:, :, 1:]], 3)
    drawn = bone_map(bone_weights(uv, size, reach_px), ends).view(2, 20, 3, size, size)
    joints_px = (uv[0] + 1) / 2 * size
    for side in range(2):
        for bone, parent in enumerate(PARENTS_21[1:].tolist()):
            start, end = joints_px[side, parent], joints_px[side, bone + 1]
            for y in range(size):
                for x in range(size):
                    centre = torch.tensor([x + 0.5, y + 0.5], dtype=torch.float64)
                    along = ((centre - start) @ (end - start) / (end - start).square().sum()).clamp(0, 1)
                    to_parent, to_child = (centre - start).norm(), (centre - end).norm()
                    total = to_parent + to_child
                    expected = torch.zeros(3, dtype=torch.float64)
                    if (centre - start - along * (end - start)).norm() < reach_px:
                        expected = features[0, side, parent] * (1 - to_parent / total)
                        expected = expected + features[0, side, bone + 1] * (1 - to_child / total)
                    torch.testing.assert_close(drawn[side, bone, :, y, x], expected)


def test_parameters_and_operations_match_the_paper_and_the_release(hand: HandModel) -> None:
    release, paper, compact = (cost(configuration, hand) for configuration in (DIR_RELEASE, DIR_PAPER, DIR_S))
    assert release.published == 92_725_019
    assert release.flops_published == pytest.approx(36.8e9, rel=0.002)
    assert paper.published == pytest.approx(55.1e6, rel=0.02)
    assert paper.flops_published == pytest.approx(30.8e9, rel=0.02)
    assert compact.parameters <= 14e6
    assert release.flops < 0.65 * release.flops_published


class _PooledBackbone(nn.Module):
    """Features that a mirrored picture mirrors exactly, as no strided convolution gives them on an even grid."""

    channels = (4, 4, 4, 4)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        wide = torch.cat([image, image.square().mean(1, keepdim=True)], 1)
        return tuple(nn.functional.avg_pool2d(wide, factor) * 4 for factor in (4, 8, 16, 32))


def test_mirrored_weights_turn_a_mirrored_picture_into_mirrored_hands(
    hand: HandModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "efficientnet_lite0", _PooledBackbone)
    network = network_of(dataclasses.replace(SMALL, transformer_blocks=2)).eval()
    for regressor in (network.baseline, *(stage.regressor for stage in network.refinements)):
        nn.init.normal_(regressor.get_parameter("parameters_head.bias"), std=0.3)
        regressor.get_parameter("parameters_head.bias").data[:, 61:] = torch.tensor([4.0, 0.1, 0.2])
    mirrored = network_of(network.configuration).eval()
    mirrored.load_state_dict(mirrored_state(network.state_dict()))
    image = torch.randn(2, 3, 256, 256)
    with torch.no_grad():
        there, back = network(image, hand), mirrored(image.flip(-1), hand)
    for first, second in zip(there.stages, back.stages, strict=True):
        torch.testing.assert_close(
            mirror(second.joints_m.flip(1), "point"), first.joints_m, atol=1e-4, rtol=1e-3
        )
        torch.testing.assert_close(
            mirror(second.joints_uv.flip(1), "uv"), first.joints_uv, atol=1e-3, rtol=1e-3
        )
        torch.testing.assert_close(-mirror(second.offset_m, "point"), first.offset_m, atol=1e-4, rtol=1e-3)
        assert first.presence_logit is not None and second.presence_logit is not None
        torch.testing.assert_close(second.presence_logit.flip(1), first.presence_logit, atol=1e-3, rtol=1e-3)
    assert there.answer.joints_m[:, 0].sub(there.answer.joints_m[:, 1]).abs().max() > 0.01


_MIRRORED_64 = torch.tensor([1.0, -1, -1, -1, 1, 1, *[1] * 55, 1, -1, 1])
_MIRRORED_POINT, _MIRRORED_OFFSET = torch.tensor([-1.0, 1, 1]), torch.tensor([1.0, -1, -1])
# Layers that hold left and right behind each other on their first axis.
_STACKED = (
    "pooling.scores",
    "parameters_head",
    ".heads",
    "image_embedding",
    "joint_embedding",
    "graph",
    "positions",
)


def mirrored_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with which the network does to a mirrored picture what it did to the picture."""
    return {key: _mirrored(key, value.clone()) for key, value in state.items()}


def _mirrored(key: str, value: Tensor) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return value
    if value.ndim == 4:
        value = value.flip(-1)
    if key.endswith("projection.conv.weight"):
        value = value.unflatten(1, (2, -1)).flip(1).flatten(1, 2)
    if any(name in key for name in _STACKED):
        value = value.unflatten(0, (2, -1)).flip(0).flatten(0, 1)
    if "parameters_head" in key:
        value = value * (_MIRRORED_64[:, None] if key.endswith("weight") else _MIRRORED_64)
    if "regressor" in key and key.endswith(("parameters_head.weight", "heads.weight")):
        value[..., -64:] *= _MIRRORED_64
    if key.endswith(("joint_embedding.linear1.weight", "common_embedding.linear1.weight")):
        value = value * _MIRRORED_POINT
    if "offset_head" in key:
        value = value * (_MIRRORED_OFFSET[:, None] if key.endswith("weight") else _MIRRORED_OFFSET)
    if key.endswith("regressor.offset_head.weight"):
        joints, before = value[:, :-3], value[:, -3:] * _MIRRORED_OFFSET
        value = torch.cat([joints.unflatten(1, (2, -1)).flip(1).flatten(1, 2), before], 1)
    return value
