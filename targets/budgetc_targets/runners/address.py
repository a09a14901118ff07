"""Addresses of devices, taken apart."""

import re
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}|[0-9A-Fa-f:.]{2,45}")


def split_address(address: str, scheme: str) -> SplitResult | None:
    """The parts of an address of a scheme, with a host that is a name or a number; None where it is no such address."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    fits = parts.scheme == scheme and _HOST.fullmatch(parts.hostname or "") and port != 0
    return parts if fits else None
