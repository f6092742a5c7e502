# SPDX-License-Identifier: GPL-3.0-or-later
"""External JSON as records, checked field by field. Standard library only: Blender's side shares this file."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_DEEPEST = 32

Record = TypeVar("Record")


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in the text. ValueError for other text, NaN or infinity, and deep nesting."""
    try:
        values = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    _check_depth(values)
    return values


def record_from_json(record: type[Record], values: Mapping[str, Any]) -> Record:
    """The record filled from JSON values by its fields' types; unknown names are ignored.

    A ValueError names the field that is missing or of another type. The record's own checks may raise other errors.
    """
    hints = type_hints(record)
    known = {name: _typed(name, values[name], hint) for name, hint in hints.items() if name in values}
    try:
        return record(**known)
    except TypeError as error:
        raise ValueError(str(error).partition(") ")[2] or str(error)) from error


@cache
def type_hints(record: type[Any]) -> Mapping[str, Any]:
    """The types of the record's fields; cached, because computing them takes a millisecond or two."""
    return get_type_hints(record)


def unknown_fields(record: type[Any], values: Mapping[str, Any]) -> list[str]:
    """The names in the values that are not fields of the record, sorted."""
    return sorted(set(values) - {item.name for item in fields(record)})


def shortened(text: str, length: int = 120) -> str:
    """The text shortened for a message."""
    text = text.strip()
    return text if len(text) <= length else text[:length] + "..."


def _typed(name: str, value: Any, hint: Any) -> Any:
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and type(None) in options:
            return None
        return _typed(name, value, next(option for option in options if option is not type(None)))
    if origin is Literal:
        if isinstance(value, str) and value in options:
            return value
        raise ValueError(f"{name} is {shortened(repr(value))}, not one of {', '.join(map(str, options))}")
    if origin is tuple and isinstance(value, list):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise ValueError(f"{name} has {len(value)} values, not {len(options)}")
        return tuple(_typed(name, item, options[0]) for item in value)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        unknown = unknown_fields(hint, value)
        if unknown:
            raise ValueError(f"{name} holds {shortened(', '.join(unknown))}, unknown here: update Duohand")
        return record_from_json(hint, value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: item if options[1] is Any else str(item) for key, item in value.items()}
    return _number_or_text(name, value, hint)


def _number_or_text(name: str, value: Any, hint: Any) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ValueError(f"{name} is a number larger than any that is possible") from error
    if hint in (str, int, bool) and type(value) is hint:
        return value
    raise ValueError(f"{name} is {shortened(repr(value))}, not {getattr(hint, '__name__', hint)}")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a possible number")
    return value
