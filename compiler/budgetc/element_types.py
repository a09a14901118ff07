"""The element types that a tensor may have, by numpy's names, and how each is held in C."""

import numpy as np

_ARITHMETIC = {
    "float32": "float",
    "float64": "double",
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "bool": "uint8_t",  # C's bool has no fixed size that C++ shares
}
ARITHMETIC_TYPES = frozenset(_ARITHMETIC)
"""Those that kernels compute with; the others pass through code that converts."""

C_TYPES = {
    **_ARITHMETIC,
    **dict.fromkeys(("float16", "bfloat16"), "uint16_t"),
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"), "uint8_t"),
    **dict.fromkeys(("float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn"), "uint8_t"),
    **dict.fromkeys(("float6_e3m2fn", "float4_e2m1fn", "uint4", "uint2"), "uint8_t"),
    **dict.fromkeys(("int4", "int2"), "int8_t"),
}
"""What a program in C passes for each: for a type that C and C++ do not share, its bits in an unsigned integer, one
element each, and a whole number of less than a byte as a byte."""


def numpy_type(name: str) -> np.dtype[np.generic]:
    """The numpy dtype of an element type; beyond numpy's own they come from ml_dtypes."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # noqa: F401, PLC0415  importing it teaches numpy the names

        return np.dtype(name)
