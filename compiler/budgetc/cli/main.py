"""The command line: `budgetc VERB`. Each verb lives in a file of its own."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from budgetc.cli.bench import bench
from budgetc.cli.cache import cache
from budgetc.cli.check import check
from budgetc.cli.compile import compile_spec
from budgetc.cli.diff import diff
from budgetc.cli.doctor import doctor
from budgetc.cli.exits import catch_signals, guarded
from budgetc.cli.explain import explain
from budgetc.cli.init import init
from budgetc.cli.layout import layout
from budgetc.cli.lock import lock_spec
from budgetc.cli.metrics import metrics
from budgetc.cli.passes import passes
from budgetc.cli.plan import plan_spec
from budgetc.cli.redraw import report
from budgetc.cli.schema import schema
from budgetc.cli.targets import targets
from budgetc.cli.verify import verify_folder
from budgetc.cli.why import why
from budgetc.version import VERSION

app = typer.Typer(
    name="budgetc",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"budgetc {VERSION}")
        raise typer.Exit


@app.callback()
def _budgetc(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Make a neural network fit a declared budget, as a native library that stands alone.

    Exit codes: 0 all budgets met; 1 a budget missed; 2 spec or usage; 3 proven infeasible; 4 this machine lacks
    something; 5 lock out of date; 6 wrong numbers; 7 the model is invalid; 8 target unreachable; 70 a bug; 130
    interrupted.
    """


_VERBS: dict[str, Callable[..., int]] = {
    "init": init,
    "check": check,
    "plan": plan_spec,
    "compile": compile_spec,
    "layout": layout,
    "lock": lock_spec,
    "verify": verify_folder,
    "diff": diff,
    "why": why,
    "explain": explain,
    "bench": bench,
    "report": report,
    "passes": passes,
    "metrics": metrics,
    "schema": schema,
    "doctor": doctor,
}
for _name, _verb in _VERBS.items():
    app.command(_name)(guarded(_verb))
app.add_typer(targets, name="targets")
app.add_typer(cache, name="cache")


def main() -> None:
    """Run the command that the process was started with, and end the process."""
    catch_signals()
    app()
    sys.exit(0)


if __name__ == "__main__":
    main()
