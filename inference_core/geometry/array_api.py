# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that serve NumPy arrays at run time and torch tensors in training are written in the array API.

`xp = array_namespace(values)` names the functions of the library that `values` comes from; a result is of the
same library, dtype and device. torch is not imported unless a tensor is passed.
"""

from typing import Any, TypeAlias

from array_api_compat import array_namespace

__all__ = ["Array", "array_namespace", "components", "constant", "unit"]

Array: TypeAlias = Any  # a NumPy array or a torch tensor


def constant(values: Any, like: Array) -> Array:
    """Numbers as an array of the library, dtype and device of `like`."""
    return array_namespace(like).asarray(values, dtype=like.dtype, device=getattr(like, "device", None))


def unit(vectors: Array) -> Array:
    """Vectors (..., N) divided by their length; those shorter than 1e-12, by 1e-12."""
    length = array_namespace(vectors).linalg.vector_norm(vectors, axis=-1, keepdims=True)
    return vectors / length.clip(min=1e-12)


def components(vectors: Array) -> tuple[Array, ...]:
    """The N components (...) of vectors (..., N). The array API's unstack cannot be converted for OpenVINO."""
    return tuple(vectors[..., number] for number in range(vectors.shape[-1]))
