# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights stored without zeros are restored exactly; inconsistent parts are rejected."""

import pytest
import torch

from inference_core.landmarks.sparse_weights import with_zeros, without_zeros


def test_sparse_storage_is_lossless() -> None:
    torch.manual_seed(0)
    sparse = torch.randn(7, 5, 3, 3).half() * (torch.rand(7, 5, 3, 3) < 0.25)
    weights = {"a.weight": sparse, "a.bias": torch.randn(7).half(), "b.weight": torch.zeros(4)}
    stored = without_zeros(weights)
    assert "a.bias" in stored and "a.weight" not in stored
    assert sum(part.numel() * part.element_size() for part in stored.values()) < sparse.numel() * 2
    back = with_zeros(stored)
    assert back.keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.equal(back[name], weight) and back[name].dtype == weight.dtype


@pytest.mark.parametrize("part", [":places", ":shape", ":values"])
def test_inconsistent_parts_are_refused(part: str) -> None:
    stored = without_zeros({"a": torch.tensor([0.0, 0, 0, 2.0, 0, 0, 5.0, 0])})
    if part == ":values":
        stored["a:values"] = torch.ones(7)
    else:
        del stored["a" + part]
    with pytest.raises(ValueError, match="parts of a do not fit"):
        with_zeros(stored)
