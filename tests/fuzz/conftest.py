"""Puts the repository on the path, so that the fuzzer's modules have the names that its command uses."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
