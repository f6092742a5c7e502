# SPDX-License-Identifier: GPL-3.0-or-later
"""An inference-only copy of a network, with batch norms fused into the preceding linear operations.

The released attention's large convolution is also replaced by one with fewer multiplications. torch.nn.utils.fusion
supports neither weights stacked over two hands nor the joint graph's convolutions.
"""

import copy
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from inference_core.runtime.winograd import WinogradConv
from inference_core.two_hand.blocks import SIDE_COUNT, Residual, SharedEmbedding, SideEmbedding
from inference_core.two_hand.bone_projection import BoneProjection
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.joint_graph import JointGraph
from inference_core.two_hand.regressors import AttentionPooling
from inference_core.two_hand.resnet import Bottleneck, ResNet50


def with_fused_norms(network: DirNetwork, winograd: bool = False) -> DirNetwork:
    """A copy in eval mode that computes the same with fewer operations. It cannot be trained further.

    winograd: use Winograd convolutions. Good for exported networks, whose runtimes multiply
    small matrices fast; torch does not.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(copied.modules()):
        if isinstance(module, nn.Sequential):
            _fuse_sequence(module)
        elif isinstance(module, ResNet50):
            _fuse(module, "conv1", "bn1")
        elif isinstance(module, Bottleneck):
            _fuse_all(module, ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))
        elif isinstance(module, Residual):
            _fuse_all(module, ("conv1", "norm2"), ("conv2", "norm3"))
        elif isinstance(module, BoneProjection):
            _fuse(module, "conv", "norm")
        elif isinstance(module, SideEmbedding | SharedEmbedding):
            _fuse(module, "linear1", "norm")
        elif isinstance(module, JointGraph):
            _fuse_graph(module)
    for module in list(copied.modules()):
        if winograd and isinstance(module, AttentionPooling) and module.attention == "full":
            module.scores[0] = WinogradConv(cast(nn.Conv2d, module.scores[0]))
    return copied


def _fuse_all(module: nn.Module, *pairs: tuple[str, str]) -> None:
    for linear, norm in pairs:
        _fuse(module, linear, norm)


def _fuse_sequence(sequence: nn.Sequential) -> None:
    names = list(dict(sequence.named_children()))
    for linear, norm in pairwise(names):
        if isinstance(sequence.get_submodule(norm), nn.BatchNorm2d):
            _fuse(sequence, linear, norm)


def _fuse(module: nn.Module, linear_name: str, norm_name: str) -> None:
    linear, norm = module.get_submodule(linear_name), module.get_submodule(norm_name)
    weight, bias = linear.get_parameter("weight"), getattr(linear, "bias", None)
    scale, shift = _affine(norm)
    outputs = (SIDE_COUNT, -1) if weight.ndim == 3 and weight.shape[0] == SIDE_COUNT else (-1,)
    scale, shift = scale.view(outputs), shift.view(outputs)
    wide = scale.reshape(*scale.shape, *([1] * (weight.ndim - scale.ndim)))
    linear.register_parameter("weight", _constant(weight * wide))
    moved = shift if bias is None else bias * scale + shift
    linear.register_parameter("bias", _constant(moved))
    setattr(module, norm_name, nn.Identity())


def _fuse_graph(graph: JointGraph) -> None:
    for index, (convolution, norm) in enumerate(zip(graph.convolutions, graph.norms, strict=True)):
        scale, shift = (values.view(SIDE_COUNT, -1) for values in _affine(norm))
        weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
        wide = scale.repeat_interleave(len(weight) // SIDE_COUNT, 0)[:, None]
        convolution.register_parameter("weight", _constant(weight * wide))
        convolution.register_parameter("bias", _constant(bias * scale + shift))
        graph.norms[index] = nn.Identity()


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) that a batch norm applies in eval mode."""
    assert (
        isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        and norm.running_mean is not None
        and norm.running_var is not None
    )
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
