"""`budgetc metrics` says what the metrics say."""

from importlib.metadata import entry_points

from budgetc.cli.main import app
from budgetc.measure.metrics import GROUP, resolve_metric
from typer.testing import CliRunner


def test_all_are_listed():
    done = CliRunner().invoke(app, ["metrics"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    names = entry_points(group=GROUP).names
    assert {"top1", "f1", "mean-iou", "edit-distance"} <= set(names)
    for name in names:
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        metric = resolve_metric(name)
        assert metric.about
        assert ("less" in line.split()) is not metric.higher_is_better
        assert metric.about.split()[0] in line
    (line,) = (line for line in lines if line.startswith("top "))
    assert line.split()[-1] == "k=1"
