"""`budgetc doctor`: try what budgetc needs of this machine, and say how to repair what fails."""

from rich.text import Text

from budgetc.cli.terminal import open_terminal, say

_STYLES = {"ok": "green", "missing": "bold red", "optional": "yellow"}


def doctor() -> int:
    """Try what budgetc needs of this machine; say how to repair it.

    The tvm pair, LLVM, zig, onnxruntime and the cache are required, qemu is not.
    """
    from budgetc_specs.errors import EnvironmentError_

    from budgetc.diagnosis import examine

    out = open_terminal().out
    failed = False
    for check in examine():
        line = Text.assemble(
            (f"{check.state:<9}", _STYLES[check.state]), (f"{check.name:<13}", "bold")
        )
        out.print(line, end="")
        first, _, rest = check.detail.partition("\n")
        say(out, first)
        if rest:
            say(out, "\n".join(f"          {part}" for part in rest.splitlines()), "dim")
        if check.repair:
            say(out, f"          repair: {check.repair}")
        failed = failed or check.state == "missing"
    return EnvironmentError_.exit_code if failed else 0
