"""The sections of a spec: defaults, bounds, and the fields that are not supported yet."""

from pathlib import Path
from typing import Any

import pytest
from budgetc_specs.section import Section
from budgetc_specs.sections import (
    DataSpec,
    InputSpec,
    OutputSpec,
    QualitySpec,
    SearchSpec,
    TargetSpec,
)
from pydantic import ValidationError


def refusals(section: type[Section], value: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        section.model_validate(value)
    return {
        ".".join(map(str, each["loc"])): each["ctx"]["error"].message
        for each in caught.value.errors()
    }


DATA_FORMAT = '"v.csv" is not supported yet: data comes from .npz archives'


def test_defaults() -> None:
    assert (SearchSpec().trials, SearchSpec().time, SearchSpec().seed) == (0, 600.0, 0)
    assert (SearchSpec().tuning, SearchSpec(tuning=600.0).tuning) == (None, 600.0)
    assert QualitySpec().metric == "top1"
    assert OutputSpec().kind == "shared"
    assert (TargetSpec().kind, TargetSpec().cpu, TargetSpec().threads) == ("host", None, 1)
    assert DataSpec() == DataSpec(calibration=None, validation=None, evaluation=None)
    assert (SearchSpec().candidates, SearchSpec().executor) == (40, "local")
    assert QualitySpec().slices is None


def test_a_shape_is_a_list_of_whole_numbers() -> None:
    assert InputSpec(shape=[1, 28]).shape == (1, 28)  # type: ignore[arg-type]
    assert InputSpec(shape=()).shape == ()


@pytest.mark.parametrize(
    ("section", "value", "found"),
    [
        (InputSpec, {}, {"": "an input has a shape, or several"}),
        (InputSpec, {"shape": 3}, {"shape": '"3" is not a list'}),
        (
            InputSpec,
            {"shape": [0, "N", 1.5, True, 2**31]},
            {
                "shape.0": '"0" is below 1',
                "shape.1": '"N" is not a whole number',
                "shape.2": '"1.5" is not a whole number',
                "shape.3": '"true" is not a whole number',
                "shape.4": '"2147483648" is above 2147483647',
            },
        ),
        (
            InputSpec,
            {"shape": [[1, 2], [3, 4]]},
            {"shape": "several shapes are given as one"},
        ),
        (
            InputSpec,
            {"shape": [1], "shapes": [[1]]},
            {"": "an input has a shape, or several"},
        ),
        (QualitySpec, {"metric": "a b"}, {"metric": '"a b" is not a metric'}),
        (QualitySpec, {"metric": "os:system()"}, {"metric": '"os:system()" is not a metric'}),
        (
            QualitySpec,
            {"slices": "labels"},
            {"slices": '"labels" does not say what slices there are'},
        ),
        (
            QualitySpec,
            {"slices": 3},
            {"slices": '"3" is not a path'},
        ),
        (DataSpec, {"validation": "v.csv"}, {"validation": DATA_FORMAT}),
        (SearchSpec, {"trials": -1}, {"trials": '"-1" is below 0'}),
        (SearchSpec, {"trials": "4"}, {"trials": '"4" is not a whole number'}),
        (SearchSpec, {"time": "10"}, {"time": '"10" has no unit'}),
        (SearchSpec, {"time": float("inf")}, {"time": '"inf" is not a finite number'}),
        (SearchSpec, {"tuning": "5"}, {"tuning": '"5" has no unit'}),
        (SearchSpec, {"tuning": "0 s"}, {"tuning": '"0 s" is not above zero'}),
        (SearchSpec, {"tuning": float("inf")}, {"tuning": '"inf" is not a finite number'}),
        (
            SearchSpec,
            {"time": "4 min", "tuning": "5 min"},
            {"tuning": '"5 min" is longer than the whole search may take, 4 min'},
        ),
        (SearchSpec, {"seed": 2**32}, {"seed": '"4294967296" is above 4294967295'}),
        (SearchSpec, {"candidates": 0}, {"candidates": '"0" is below 1'}),
        (SearchSpec, {"candidates": 2.5}, {"candidates": '"2.5" is not a whole number'}),
        (SearchSpec, {"executor": "dask"}, {"executor": '"dask" is not an executor'}),
        (SearchSpec, {"executor": "local:0"}, {"executor": '"local:0" is not an executor'}),
        (SearchSpec, {"executor": "tcp://h"}, {"executor": '"tcp://h" is not an executor'}),
        (SearchSpec, {"executor": "tcp://h:65536"}, {"executor": '"65536" is not a port'}),
        (SearchSpec, {"executor": 4}, {"executor": '"4" is not text'}),
        (TargetSpec, {"kind": "Pi"}, {"kind": '"Pi" is not a target kind'}),
        (TargetSpec, {"cpu": "-mcpu=x"}, {"cpu": '"-mcpu=x" is not a CPU'}),
        (TargetSpec, {"threads": 0}, {"threads": '"0" is below 1'}),
        (TargetSpec, {"runner": "pi"}, {"runner": '"pi" is not the address of a device'}),
        (TargetSpec, {"budgets": {"size": 1}}, {"budgets.size.max": '"1" has no unit'}),
        (OutputSpec, {"kind": "firmware"}, {"kind": '"firmware" is not supported yet'}),
        (OutputSpec, {"kind": "shard"}, {"kind": '"shard" is not shared or static'}),
        (OutputSpec, {"name": "a-b"}, {"name": '"a-b" is not a C identifier'}),
        (OutputSpec, {"name": 5}, {"name": '"5" is not text'}),
    ],
)
def test_refusals(section: type[Section], value: Any, found: dict[str, str]) -> None:
    # In Python a bare number of seconds or bytes is fine, in a budget's short form it is not.
    assert refusals(section, value) == found


@pytest.mark.parametrize(
    "executor", ["local", "local:1", "local:12", "tcp://10.0.0.1:8786", "tcp://[::1]:1"]
)
def test_executors(executor: str) -> None:
    assert SearchSpec(executor=executor).executor == executor


def test_slices_are_an_array_of_the_evaluation_data_or_an_archive() -> None:
    assert QualitySpec(slices="label").slices == "label"
    assert QualitySpec(slices="slice").slices == "slice"
    assert QualitySpec(slices="groups.npz").slices == Path("groups.npz")  # type: ignore[arg-type]
    for slices in ("label", "groups.npz"):
        spec = QualitySpec(slices=slices)  # type: ignore[arg-type]
        assert QualitySpec(**spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    "metric", ["top1", "mean-iou", "my_metric", "pkg.mod:f1", "m:_f", "top{k=3}", "top{}"]
)
def test_metrics(metric: str) -> None:
    assert QualitySpec(metric=metric).metric == metric
