"""Where the command line starts: what build systems ask often is answered without an import, the rest by the verbs."""

import sys

from budgetc.version import VERSION

_FOLDERS = {"--cmakedir": "cmake", "--bazeldir": "bazel"}
"""Where the files for build systems lie, below the package."""


def main() -> None:
    """Run the command that the process was started with, and end the process."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"budgetc {VERSION}")
        return
    if len(arguments) == 1 and arguments[0] in _FOLDERS:
        from pathlib import Path

        print(Path(__file__).parents[1] / _FOLDERS[arguments[0]])
        return
    if arguments[:1] == ["compile"]:
        from budgetc.cli.current import answer

        code = answer(arguments[1:])
        if code is not None:
            sys.exit(code)
    from budgetc.cli.main import main as verbs

    verbs()


if __name__ == "__main__":
    main()
