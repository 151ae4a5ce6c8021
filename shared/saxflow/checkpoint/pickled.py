"""Read the pickle inside a torch archive without running anything it says.

A pickle is a program. This interpreter knows the opcodes that torch writes for a dictionary of
tensors and gives them one meaning each; the only callables are the constructors in `_CALLABLES`,
which are ours. Every other opcode or name is refused before it has an effect.

Source: CPython Lib/pickletools.py (opcodes), pytorch torch/_utils.py, torch/serialization.py
(persistent ids, `_rebuild_tensor_v2`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from reprlib import repr as short
from typing import Any

from saxflow.errors import WeightsError

STORAGE_DTYPES = {
    "BFloat16Storage": "bfloat16",
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
}
MAX_OPCODES = 1_000_000
"""Twenty times what a 405B needs; it bounds time, stack and memo."""

MAX_TEXT_BYTES = 1024
MAX_AXES = 64
MAX_COUNT = 1 << 63


@dataclass(frozen=True)
class StorageRef:
    """A storage by its key: entry `data/<key>` of the archive, `elements` of `dtype`."""

    key: str
    dtype: str
    elements: int


@dataclass(frozen=True)
class TensorRef:
    """A tensor as the pickle describes it; nothing has been read."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class _Name:
    """A global that the pickle mentioned; it stands for itself and is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Mark:
    pass


_MARK = _Mark()


def load(data: bytes, what: str) -> Any:
    """Return the object that a torch pickle describes: dictionaries, numbers, `TensorRef`s.

    Args:
        data: the whole pickle.
        what: names it in messages, for example `consolidated.00.pth`.

    Raises:
        WeightsError: it uses an opcode or a global that a dictionary of tensors does not need, or
            is damaged.
    """
    machine = _Machine(data, what)
    try:
        return machine.run()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{what}: the pickle is damaged near byte {machine.position} ({error});"
            " download the file again"
        ) from error


def tensors(data: bytes, what: str) -> dict[str, TensorRef]:
    """Return the tensors of a pickled state dictionary by name.

    Raises:
        WeightsError: as `load`, or the object is no dictionary of tensors.
    """
    value = load(data, what)
    if isinstance(value, dict) and set(value) == {"model"} and isinstance(value["model"], dict):
        value = value["model"]
    if not isinstance(value, dict):
        raise WeightsError(
            f"{what} holds {type(value).__name__}; a dictionary of tensors was expected"
        )
    return {
        str(name): tensor for name, tensor in value.items() if _is_named_tensor(name, tensor, what)
    }


def _is_named_tensor(name: Any, value: Any, what: str) -> bool:
    if not str(name).isprintable():
        raise WeightsError(f"{what}: {name!r} is no tensor's name; the file is damaged or hostile")
    if not isinstance(value, TensorRef):
        raise WeightsError(
            f"{what}: entry {name!r} is {type(value).__name__}; every entry must be a tensor"
        )
    return True


class _Machine:
    """One run over one pickle: a stack, a memo, a table of opcodes."""

    def __init__(self, data: bytes, what: str) -> None:
        self.position = 0
        self._data = data
        self._what = what
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._result: list[Any] = []

    def run(self) -> Any:
        for _ in range(MAX_OPCODES):
            opcode = self._data[self.position]
            self.position += 1
            action = _OPCODES.get(opcode)
            if action is None:
                raise self.refusal(f"opcode {opcode:#04x}")
            action(self)
            if self._result:
                return self._result[0]
        raise self.refusal(f"more than {MAX_OPCODES} opcodes")

    def refusal(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self._what}: the pickle uses {what}, which weights do not need;"
            " it was refused and nothing was run. Use a file from a source you trust,"
            " or convert it to safetensors where you made it"
        )

    # Arguments of opcodes.

    def take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self._data):
            raise ValueError("an argument reaches past the end")
        piece = self._data[self.position : end]
        self.position = end
        return piece

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self._data.index(b"\n", self.position, self.position + MAX_TEXT_BYTES)
        text = self._data[self.position : end].decode("utf-8")
        self.position = end + 1
        return text

    # The stack.

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value belongs")
        return value

    def top(self) -> Any:
        return self._stack[-1]

    def pop_to_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    # What opcodes do.

    def stop(self) -> None:
        self._result.append(self.pop())

    def remember(self, index: int) -> None:
        self._memo[index] = self.top()

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self.top()

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def set_items(self, flat: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(flat) % 2:
            raise ValueError("items for something that is no dictionary")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if not isinstance(key, (str, int)):
                raise ValueError(f"a dictionary key of type {type(key).__name__}")
            target[key] = value

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise ValueError("elements for something that is no list")
        target.extend(values)

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global whose name is no text")
        known = f"{module}.{name}"
        if known not in _CALLABLES and not _is_storage(module, name):
            raise self.refusal(f"the global {known!r}")
        self.push(_Name(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        action = _CALLABLES.get(str(function)) if isinstance(function, _Name) else None
        if action is None or not isinstance(arguments, tuple):
            raise self.refusal(f"a call of {_shown(function)}")
        self.push(action(*arguments))

    def build(self) -> None:
        """Attributes of an OrderedDict (`_metadata`) carry no weights and are dropped."""
        self.pop()
        if not isinstance(self.top(), dict):
            raise self.refusal(f"the state of a {type(self.top()).__name__}")

    def persistent(self) -> None:
        identity = self.pop()
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise self.refusal(f"the persistent id {short(identity)}")
        _, kind, key, _, elements = identity[:5]
        dtype = STORAGE_DTYPES.get(kind.name) if isinstance(kind, _Name) else None
        if dtype is None:
            raise self.refusal(f"a storage of type {_shown(kind)}")
        if not isinstance(key, str) or not _is_count(elements):
            raise ValueError("a storage without a key or a length")
        self.push(StorageRef(key, dtype, elements))


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, _Name) else short(value)


def _is_storage(module: str, name: str) -> bool:
    return module in ("torch", "torch.storage") and name in STORAGE_DTYPES


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _counts(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > MAX_AXES:
        raise ValueError(f"{short(values)} where sizes belong")
    if not all(_is_count(value) for value in values):
        raise ValueError(f"{short(values)} where sizes belong")
    return tuple(values)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRef:
    if not isinstance(storage, StorageRef) or not _is_count(offset):
        raise ValueError("a tensor without a storage or an offset")
    tensor = TensorRef(storage, offset, _counts(shape), _counts(strides))
    if len(tensor.shape) != len(tensor.strides):
        raise ValueError("a tensor with more sizes than strides")
    return tensor


def _rebuild_parameter(data: Any, *_: Any) -> TensorRef:
    if not isinstance(data, TensorRef):
        raise ValueError("a parameter that is no tensor")
    return data


def _empty_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments and arguments != ([],):
        raise ValueError("an OrderedDict with initial items")
    return {}


_CALLABLES: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "collections.OrderedDict": _empty_dict,
}


def _text(machine: _Machine, size: int) -> None:
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {size} bytes")
    machine.push(machine.take(size).decode("utf-8"))


def _protocol(machine: _Machine) -> None:
    version = machine.number("<B")
    if version > 5:
        raise ValueError(f"pickle protocol {version}")


def _frame(machine: _Machine) -> None:
    machine.number("<Q")


def _discard(machine: _Machine) -> None:
    machine.pop()


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


_OPCODES: dict[int, Callable[[_Machine], None]] = {
    ord("\x80"): _protocol,
    ord("\x95"): _frame,
    ord("."): _Machine.stop,
    ord("("): lambda m: m.push(_MARK),
    ord("0"): _discard,
    ord("N"): lambda m: m.push(None),
    ord("\x88"): lambda m: m.push(True),
    ord("\x89"): lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("\x8a"): lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("X"): lambda m: _text(m, m.number("<I")),
    ord("\x8c"): lambda m: _text(m, m.number("<B")),
    ord("\x8d"): lambda m: _text(m, m.number("<Q")),
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_to_mark())),
    ord("\x85"): lambda m: m.tuple_of(1),
    ord("\x86"): lambda m: m.tuple_of(2),
    ord("\x87"): lambda m: m.tuple_of(3),
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("s"): _set_item,
    ord("e"): lambda m: m.append(m.pop_to_mark()),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    ord("\x94"): _Machine.memoize,
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): lambda m: m.name(m.line(), m.line()),
    ord("\x93"): _stack_global,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent,
}
"""Opcode -> meaning; what is not here is refused."""
