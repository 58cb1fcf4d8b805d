"""TFRecord files: records one after another, each with its length and checksums.

uint64 length, uint32 masked crc32c of the length, the record, uint32 masked crc32c of the record; all little-endian
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).
"""

import mmap
import struct
from pathlib import Path

import numpy as np

from roadcast.errors import UserError

HEAD, TAIL = 12, 4
LANE = 1024


class RecordFile:
    """The records of a file that is mapped into memory; only the pages that are looked at are read from the disk.

    Raises `UserError` for a file that is none, or is cut short: every length is checked on opening, a record when it is read.
    """

    def __init__(self, path: Path):
        self.path = path
        self._places: list[tuple[int, int]] = []
        size = path.stat().st_size
        if not size:
            raise UserError(f"{path}: is empty; download it again")
        with open(path, "rb") as file:
            self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        at = 0
        while at < size:
            head = self._data[at : at + HEAD]
            if len(head) < HEAD or masked_crc32c(head[:8]) != struct.unpack("<I", head[8:])[0]:
                raise UserError(
                    f"{path}: record {len(self._places)} at byte {at} has no valid head, so it is no TFRecord file or "
                    "is damaged; download it again"
                )
            length = struct.unpack("<Q", head[:8])[0]
            if at + HEAD + length + TAIL > size:
                raise UserError(
                    f"{path}: ends inside record {len(self._places)}, so it is cut short; download it again"
                )
            self._places.append((at + HEAD, length))
            at += HEAD + length + TAIL

    def __len__(self) -> int:
        return len(self._places)

    def peek(self, n: int) -> memoryview:
        """Record number `n`, its checksum not looked at."""
        at, length = self._places[n]
        return self._data[at : at + length]

    def read(self, n: int) -> memoryview:
        """Record number `n`; a `UserError` if it does not match its checksum."""
        record = self.peek(n)
        at = self._places[n][0] + len(record)
        if masked_crc32c(record) != struct.unpack("<I", self._data[at : at + TAIL])[0]:
            raise UserError(f"{self.path}: record {n} does not match its checksum; download it again")
        return record


def masked_crc32c(data: bytes | memoryview) -> int:
    """The checksum of TFRecord: crc32c turned right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C (Castagnoli 1993), of long data in lanes of LANE bytes at once, joined two by two.

    The register is linear: crc(a b) = shift(crc(a), len(b)) xor crc0(b), with crc0 started at 0, and shift a 32x32 bit matrix.
    """
    values = np.frombuffer(data, np.uint8)
    lanes = len(values) // LANE
    register = np.full(1, 0xFFFFFFFF, np.uint32)
    if lanes:
        rows = values[: lanes * LANE].reshape(lanes, LANE)
        state = np.zeros(lanes, np.uint32)
        state[0] = 0xFFFFFFFF
        for column in np.ascontiguousarray(rows.T):
            state = _TABLE[(state ^ column) & 0xFF] ^ state >> 8
        register = _join(state)
    for byte in values[lanes * LANE :]:
        register = _TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    return int(register[0]) ^ 0xFFFFFFFF


def _join(state: np.ndarray) -> np.ndarray:
    """One register from those of lanes of LANE bytes, the first of which began with the others' start."""
    shift = _zeros(LANE)
    while len(state) > 1:
        if len(state) % 2:
            state = np.concatenate([np.zeros(1, np.uint32), state])  # a lane of nothing in front changes nothing
        state = _times(shift, state[::2]) ^ state[1::2]
        shift = _times(shift, shift)
    return state


def _zeros(count: int) -> np.ndarray:
    """The matrix, one column a bit, that takes a register over `count` bytes of 0; `count` is a power of 2."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    matrix = _TABLE[bits & 0xFF] ^ bits >> 8
    for _ in range(count.bit_length() - 1):
        matrix = _times(matrix, matrix)
    return matrix


def _times(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The product over GF(2) of a matrix [32] and vectors [N], all uint32."""
    out = np.zeros_like(vectors)
    for bit in range(32):
        out ^= np.where(vectors >> np.uint32(bit) & np.uint32(1), matrix[bit], np.uint32(0))
    return out


def _table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, crc >> 1 ^ np.uint32(0x82F63B78), crc >> 1)
    return crc


_TABLE = _table()
