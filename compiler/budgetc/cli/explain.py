"""`budgetc explain`: what a code, a verdict, a budget, a metric, a pass or any field of a spec means."""

from typing import Annotated

import typer

from budgetc.cli.completion import topic_names
from budgetc.cli.terminal import open_terminal, say


def explain(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORD]",
            help="An exit code, a verdict, a field, a metric, a pass, a target or a rule.",
            autocompletion=topic_names,
        ),
    ] = None,
) -> int:
    """Say what a word means and what to do about it; without a word, list what can be explained."""
    from budgetc.cli.topics import KINDS, explained

    out = open_terminal().out
    if word is None:
        for kind in KINDS:
            say(out, kind.title, "bold")
            say(out, f"  {', '.join(kind.names())}")
        return 0
    for number, topic in enumerate(explained(word)):
        say(out, f"{'' if not number else chr(10)}{topic.name}: {topic.kind}", "bold")
        say(out, topic.text)
        if topic.example:
            say(out, f"\n    {topic.example}")
    return 0
