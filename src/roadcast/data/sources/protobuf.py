"""Protocol buffers read from their wire format, without a schema: the few fields that a source needs, by number.

https://protobuf.dev/programming-guides/encoding: a field is a varint of number << 3 | type, then its value.
"""

from typing import Any

import numpy as np

VARINT, I64, LEN, I32 = 0, 1, 2, 5


class Message:
    """The fields of one message by number; nothing is copied out of `data` until it is asked for.

    Raises `ValueError` for bytes that are no message, or that end inside a field.
    """

    def __init__(self, data: memoryview):
        self._fields: dict[int, list[Any]] = {}
        at = 0
        while at < len(data):
            key, at = _varint(data, at)
            kind = key & 7
            if kind == VARINT:
                value, at = _varint(data, at)
            else:
                if kind == LEN:
                    length, at = _varint(data, at)
                else:
                    length = {I64: 8, I32: 4}.get(kind, -1)
                if length < 0 or at + length > len(data):
                    raise ValueError(f"field {key >> 3} of type {kind} at byte {at} does not fit the message")
                value, at = data[at : at + length], at + length
            self._fields.setdefault(key >> 3, []).append(value)

    def has(self, field: int) -> bool:
        """Whether the field is set."""
        return field in self._fields

    def integer(self, field: int) -> int:
        """An integer or enumeration, 0 where it is not set; of several values the last counts, as the format says."""
        value = self._fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} is no integer")
        return value

    def data(self, field: int) -> memoryview | None:
        """Bytes, or the serialised form of whatever the field holds; None where it is not set."""
        value = self._fields.get(field, [None])[-1]
        if isinstance(value, int):
            raise ValueError(f"field {field} is an integer, not bytes")
        return value

    def text(self, field: int) -> str:
        """A string, empty where it is not set."""
        return bytes(self.data(field) or b"").decode()

    def double(self, field: int) -> float | None:
        """A double; None where it is not set."""
        values = self.doubles(field)
        return float(values[-1]) if len(values) else None

    def float32(self, field: int) -> float:
        """A float, 0 where it is not set."""
        values = self.floats(field)
        return float(values[-1]) if len(values) else 0.0

    def doubles(self, field: int) -> np.ndarray:
        """A repeated double, packed or not, float64 [N]."""
        return np.frombuffer(b"".join(self._parts(field)), "<f8")

    def floats(self, field: int) -> np.ndarray:
        """A repeated float, packed or not, float32 [N]."""
        return np.frombuffer(b"".join(self._parts(field)), "<f4")

    def integers(self, field: int) -> list[int]:
        """A repeated integer, packed or not."""
        found = []
        for value in self._fields.get(field, ()):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                number, at = _varint(value, at)
                found.append(number)
        return found

    def message(self, field: int) -> "Message":
        """An embedded message, without fields where it is not set."""
        return Message(self.data(field) or memoryview(b""))

    def messages(self, field: int) -> "list[Message]":
        """A repeated message."""
        return [Message(value) for value in self._parts(field)]

    def _parts(self, field: int) -> list[memoryview]:
        values = self._fields.get(field, [])
        if any(isinstance(value, int) for value in values):
            raise ValueError(f"field {field} is an integer, not bytes")
        return values


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError(f"no varint at byte {at}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
