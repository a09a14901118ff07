"""Boards by name: files in the packages that distributions register under `budgetc.boards`, ours among them."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

from budgetc_specs.board import Board
from budgetc_specs.document import load_board
from budgetc_specs.errors import EnvironmentError_, SpecError, did_you_mean, quoted

from budgetc.plugins import installed

BOARDS = "budgetc.boards"
_SUFFIX = ".toml"


def board_names() -> tuple[str, ...]:
    """The installed boards, sorted.

    Raises:
        EnvironmentError_: two packages have a board of one name, or a package is not there.
    """
    return tuple(sorted(_packages()))


def find_board(board: str | Path) -> Board:
    """An installed board by its name, or the one that a file describes.

    Raises:
        SpecError: there is none of that name, or the file is not right.
    """
    if isinstance(board, Path):
        return load_board(board)
    packages = _packages()
    if board not in packages:
        hint = did_you_mean(board, packages)
        raise SpecError.of(
            f"no board is called {quoted(board)}",
            f"{hint} `budgetc targets` lists them; a file describes one that it does not list.".strip(),
        )
    with as_file(files(packages[board]).joinpath(board + _SUFFIX)) as path:
        return load_board(path)


def _packages() -> Mapping[str, str]:
    """The package that holds the file of each board."""
    found: dict[str, str] = {}
    for point in installed(BOARDS).values():
        try:
            names = [f.name for f in files(point.value).iterdir() if f.name.endswith(_SUFFIX)]
        except (ImportError, OSError, TypeError) as error:
            raise EnvironmentError_(
                f"the boards of {point.value} cannot be read: {error}",
                "reinstall or uninstall what brought them.",
            ) from error
        for name in sorted(names):
            board = name.removesuffix(_SUFFIX)
            if other := found.get(board):
                raise EnvironmentError_(
                    f"two boards are called {quoted(board)}, one of {other} and one of {point.value}",
                    "uninstall one of the two.",
                )
            found[board] = point.value
    return found
