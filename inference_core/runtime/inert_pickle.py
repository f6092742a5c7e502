# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads pickles without ever executing anything that they name.

A pickle is a program for a machine with a stack. This one knows the instructions that arrays and dictionaries of
them need, carries them out itself, and makes inert stand-ins of the few things that its caller knows by name:
neither Python's unpickler nor the library that wrote the file sees a byte of it. Only words and
numbers are hashed, and instructions are counted, so that no nesting can crash or hang the reader.
"""

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

_MOST_INSTRUCTIONS = 500_000
_LARGEST_INTEGER = 1 << 127

_ARGUMENTS = frozenset(
    """
    BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT SHORT_BINSTRING BINSTRING BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8
    """.split()  # noqa: SIM905 (a dozen names read better without quotes)
)
_FAULTS = (EOFError, LookupError, ValueError, TypeError, OverflowError, MemoryError, AttributeError)

Make = Callable[..., Any]


class InertPickleError(Exception):
    """The bytes are not a pickle, or one with unknown instructions or names; `reason` says which."""


class RefusedPickleError(InertPickleError):
    """The pickle names something, or holds an instruction, that plain data never needs."""


class StandIn:
    """Stores what a pickle says about an object; does nothing with it."""

    def __init__(self, *parts: Any) -> None:
        self.parts: tuple[Any, ...] = parts
        self.state: Any = None

    def build(self, state: Any, _stream: IO[bytes]) -> None:
        """Take the object's state; the stream is positioned after it, where some writers put raw numbers."""
        self.state = state


@dataclass(frozen=True, eq=False)
class Named:
    """A class or function to which a pickle refers by module and name, and its stand-in."""

    name: str
    make: Make


def read_inert_pickle(
    data: bytes | IO[bytes],
    known: Mapping[str, Make],
    find: Callable[[Any], Any] | None = None,
    most_instructions: int = _MOST_INSTRUCTIONS,
) -> Any:
    """The value that the pickle builds. known: stand-ins by "module.name"; find: for persistent references.

    A stream is left after the pickle's end. Raises RefusedPickleError, naming what is not known, and
    InertPickleError for damaged bytes.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    machine = _Machine(known, find, stream)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > most_instructions:
                raise InertPickleError("it has more instructions than any file of data")
            machine.step(opcode.name, argument, count)
        return machine.stack.pop()
    except _FAULTS as fault:
        raise InertPickleError(str(fault)[:200] or type(fault).__name__) from fault


class _Machine:
    """The stack, the marks in it, and the memo."""

    def __init__(
        self, known: Mapping[str, Make], find: Callable[[Any], Any] | None, stream: IO[bytes]
    ) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._known, self._find, self._stream = known, find, stream

    def step(self, name: str, argument: Any, count: int) -> None:
        """Carry out one instruction, the `count`-th."""
        if name in _ARGUMENTS:
            if isinstance(argument, int) and abs(argument) > _LARGEST_INTEGER:
                raise ValueError("a number larger than any that data holds")
            self.stack.append(argument)
        elif name in _PLAIN:
            _PLAIN[name](self)
        elif name in ("BINPUT", "LONG_BINPUT"):
            if argument > count:
                raise ValueError("its memo is out of order")
            self._memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name == "GLOBAL":
            self.stack.append(self._named(*str(argument).split(" ", 1)))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise RefusedPickleError(f"the pickle instruction {name}")

    def push_global(self) -> None:
        """STACK_GLOBAL."""
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._named(module, name))

    def refer(self) -> None:
        """BINPERSID."""
        if self._find is None:
            raise RefusedPickleError("the pickle instruction BINPERSID")
        self.stack.append(self._find(self.stack.pop()))

    def memoize(self) -> None:
        """MEMOIZE."""
        self._memo[len(self._memo)] = self.stack[-1]

    def mark(self) -> None:
        """MARK."""
        self._marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """The items since the last mark, popped from the stack."""
        start = self._marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def tuple_of(self, count: int) -> None:
        """TUPLE1, TUPLE2, TUPLE3."""
        if len(self.stack) < count:
            raise ValueError("its stack is empty")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def make(self) -> None:
        """REDUCE and NEWOBJ."""
        parts, named = self.stack.pop(), self.stack.pop()
        if not isinstance(named, Named) or not isinstance(parts, tuple):
            raise ValueError("it builds an object from something that is not a class")
        self.stack.append(named.make(*parts))

    def build(self) -> None:
        """BUILD."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            self.stack[-1].build(state, self._stream)

    def append(self, values: list[Any]) -> None:
        """APPEND and APPENDS."""
        if not isinstance(self.stack[-1], list):
            raise ValueError("it appends to something that is not a list")
        self.stack[-1].extend(values)

    def set_items(self, pairs: list[Any]) -> None:
        """SETITEM and SETITEMS."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("it fills something that is not a dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | None):
                raise ValueError("a dictionary whose keys are not text or numbers")
            target[key] = value

    def _named(self, module: Any, name: Any) -> Named:
        full = (
            f"{module}.{name}"
            if isinstance(module, str) and isinstance(name, str)
            else "something that is not a name"
        )
        if full not in self._known:
            raise RefusedPickleError(full[:200])
        return Named(full, self._known[full])


def _pushed(value: Make) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value())


_PLAIN: Mapping[str, Callable[[_Machine], Any]] = {
    "NONE": _pushed(lambda: None),
    "NEWTRUE": _pushed(lambda: True),
    "NEWFALSE": _pushed(lambda: False),
    "EMPTY_DICT": _pushed(dict),
    "EMPTY_LIST": _pushed(list),
    "EMPTY_TUPLE": _pushed(tuple),
    "EMPTY_SET": _pushed(StandIn),
    "MARK": _Machine.mark,
    "POP": lambda machine: machine.stack.pop(),
    "POP_MARK": _Machine.since_mark,
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.since_mark())),
    "LIST": lambda machine: machine.stack.append(machine.since_mark()),
    "DICT": lambda machine: (
        items := machine.since_mark(),
        machine.stack.append({}),
        machine.set_items(items),
    ),
    "TUPLE1": lambda machine: machine.tuple_of(1),
    "TUPLE2": lambda machine: machine.tuple_of(2),
    "TUPLE3": lambda machine: machine.tuple_of(3),
    "APPEND": lambda machine: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine: machine.append(machine.since_mark()),
    "ADDITEMS": _Machine.since_mark,
    "SETITEM": lambda machine: (
        value := machine.stack.pop(),
        machine.set_items([machine.stack.pop(), value]),
    ),
    "SETITEMS": lambda machine: machine.set_items(machine.since_mark()),
    "MEMOIZE": _Machine.memoize,
    "STACK_GLOBAL": _Machine.push_global,
    "REDUCE": _Machine.make,
    "NEWOBJ": _Machine.make,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.refer,
}
