"""The names that become file names, folder names and C identifiers."""

import re
from typing import Any

from budgetc_specs.errors import Refusal, quoted

TARGET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""A target's name is a folder's name on every system."""

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""A C identifier that no implementation reserves."""

# <name>.h must not hide a header that the generated code or its user includes.
_C_HEADERS = """
    assert complex ctype errno fenv features float inttypes iso646 limits locale math pthread setjmp
    signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath
    threads time uchar unistd wchar wctype
"""
_HEADERS = frozenset(_C_HEADERS.split())


def c_identifier(stem: str) -> str:
    """The nearest name that `check_c_identifier` accepts: `net-8.v2` becomes `net_8_v2`."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", stem)[:64].strip("_")
    if not name[:1].isalpha():
        name = f"model_{name}"[:64].rstrip("_")
    return f"{name}_model" if name in _HEADERS else name


def check_c_identifier(value: Any) -> Any:
    """The value, unless it cannot be the name of a C library and its header.

    Raises:
        Refusal: with a name that would do as the repair.
    """
    if not isinstance(value, str):
        return value  # the field's own type check says what it is not
    if not IDENTIFIER.fullmatch(value):
        raise Refusal(
            f"{quoted(value)} is not a C identifier",
            f'use at most 64 letters, digits and _, a letter first: "{c_identifier(value)}".',
        )
    if value in _HEADERS:
        raise Refusal(
            f'"{value}.h" is a header of the C library',
            f'use another name, such as "{value}_model".',
        )
    return value
