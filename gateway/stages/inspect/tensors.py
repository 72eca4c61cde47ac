"""Tensors of the Open Inference Protocol: does the data have exactly the size that is declared?

Holds data against shape and datatype, as JSON values or as raw bytes. Decides nothing about names, and
nothing about values but their type and range.
"""

from __future__ import annotations

from math import prod
from typing import Final, TypedDict

# Bytes of one element; BYTES is of any length, each behind four bytes that say which.
WIDTHS: Final = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
}
LENGTH_BYTES: Final = 4

_BOOLS: Final = frozenset({bool})
_INTEGERS: Final = frozenset({int})
_NUMBERS: Final = frozenset({int, float})
_TEXTS: Final = frozenset({str})


class Tensor(TypedDict, total=False):
    """An input as the schema has checked it."""

    name: str
    shape: list[float]
    datatype: str
    data: list[object]
    parameters: dict[str, object]


def elements(tensor: Tensor) -> int:
    """Return how many elements the shape declares."""
    return prod(int(size) for size in tensor["shape"])


def fits_values(tensor: Tensor) -> bool:
    """Tell whether JSON data is what shape and datatype say: flat, or nested as the shape is."""
    values = tensor["data"]
    if values and isinstance(values[0], list):
        level: list[object] = [values]
        for size in tensor["shape"]:
            if not all(isinstance(row, list) and len(row) == size for row in level):
                return False
            level = [value for row in level if isinstance(row, list) for value in row]
        values = level
    return len(values) == elements(tensor) and _are_typed(values, tensor["datatype"])


def _are_typed(values: list[object], datatype: str) -> bool:
    kinds = set(map(type, values))
    if datatype == "BOOL":
        return kinds <= _BOOLS
    if datatype == "BYTES":
        return kinds <= _TEXTS
    if datatype[-2:] in {"16", "32", "64"} and datatype[0] in "FB":  # FP16, BF16, FP32, FP64
        return kinds <= _NUMBERS
    if not kinds <= _INTEGERS:
        return False
    bits = 8 * WIDTHS[datatype]
    least, most = (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return all(isinstance(value, int) and least <= value <= most for value in values)


def fits_bytes(tensor: Tensor, data: bytes) -> bool:
    """Tell whether raw bytes are what shape and datatype say (Triton's binary tensor data extension)."""
    datatype = tensor["datatype"]
    count = elements(tensor)
    if datatype != "BYTES":
        return len(data) == count * WIDTHS[datatype]
    at = 0
    while count and at + LENGTH_BYTES <= len(data):
        at += LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], "little")
        count -= 1
    return not count and at == len(data)
