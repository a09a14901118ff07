"""Where budgetc keeps what it can make again: zig's caches, measuring programs, tuning records."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """BUDGETC_CACHE, or `budgetc` in the user's cache folder as XDG has it."""
    given = os.environ.get("BUDGETC_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "budgetc"
