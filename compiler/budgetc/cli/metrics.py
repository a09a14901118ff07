"""`budgetc metrics`: what quality can be measured by."""

from rich.table import Table
from rich.text import Text

from budgetc.cli.terminal import open_terminal


def metrics() -> int:
    """List the metrics of quality, with their options."""
    from budgetc.measure.metrics import GROUP, metric_options, resolve_metric
    from budgetc.plugins import installed

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("metric", "what it says", "better", "labels", "options"):
        table.add_column(heading, overflow="fold")
    for name in installed(GROUP):
        metric = resolve_metric(name)
        table.add_row(
            Text(name, "bold"),
            Text(metric.about),
            "more" if metric.higher_is_better else "less",
            "needed" if metric.needs_labels else "-",
            Text("\n".join(f"{key}={value}" for key, value in metric_options(metric).items())),
        )
    open_terminal().out.print(table)
    return 0
