# SPDX-License-Identifier: GPL-3.0-or-later
"""A property computed on first access and cached, on frozen records too.

Like functools.cached_property, without its lock (Python 3.11), which torch.compile cannot trace.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, overload

Value = TypeVar("Value")


class cached_property(Generic[Value]):  # noqa: N801 - it stands in for functools' own
    """The value is kept in the instance's __dict__ under the property's name."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "cached_property[Value]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Value: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> "Value | cached_property[Value]":
        if instance is None:
            return self
        kept = instance.__dict__
        if self._name not in kept:
            kept[self._name] = self._function(instance)
        return cast(Value, kept[self._name])
