"""Simulations are kept as soon as they are known, none is made twice, and one that dies costs no other."""

import dataclasses

import pytest
from budgetc.build import write_models
from budgetc.compile import job_for, load_inputs, subject_for
from budgetc.figures import Figures, Limits
from budgetc.hardware import hardware_of
from budgetc.search.pool import open_pool
from budgetc.search.simulations import Simulated, Simulations
from budgetc.search.tasks import Answer
from budgetc_specs.budgets import Budgets
from budgetc_specs.document import load_spec
from budgetc_specs.recipe import parse_recipe

RECIPES = [parse_recipe(text) for text in ("clean", "clean | fuse", "fuse", "clean | fuse | clean")]


class Counting:
    """A pool that counts what is asked of it, and may lose some of it."""

    def __init__(self, pool, lost=()):
        self._pool, self._lost = pool, lost
        self.name, self.notes, self.workers = pool.name, pool.notes, pool.workers
        self.asked = []

    def map(self, tasks, heard):
        kept = {}
        for position, task in enumerate(tasks):
            self.asked.append(task.arguments["recipes"])
            if any(recipe in self._lost for recipe in task.arguments["recipes"]):
                yield position, Answer(refusal="it was killed by SIGKILL")
            else:
                kept[position] = task
        positions = list(kept)
        for index, answer in self._pool.map(
            list(kept.values()), lambda i, m: heard(positions[i], m)
        ):
            yield positions[index], answer


@pytest.fixture(scope="module")
def parts(tmp_path_factory, make_tiny):
    folder = tmp_path_factory.mktemp("tiny")
    spec = load_spec(make_tiny(folder), ())
    model, splits, metric = load_inputs(spec)
    write_models(model, folder / "model.onnx")
    job = job_for(spec, hardware_of(spec, "host"), model, folder / "model.onnx", splits)
    return job, subject_for(spec, job, splits, metric)


@pytest.fixture(autouse=True)
def _own_timings(monkeypatch, tmp_path_factory, zig_cache):
    """Kernels at hand; but what other tests measure meanwhile changes no prediction here."""
    cache = tmp_path_factory.mktemp("cache")
    for name in ("zig", "kernels"):
        (zig_cache / name).mkdir(exist_ok=True)
        (cache / name).symlink_to(zig_cache / name)
    monkeypatch.setenv("BUDGETC_CACHE", str(cache))


@pytest.fixture(scope="module")
def pool():
    with open_pool("local:2") as two:
        yield two


def files(folder):
    return {p: (p.stat().st_ino, p.read_bytes()) for p in folder.glob("*/*.json")}


def test_each_is_simulated_once_and_told_of(parts, pool, tmp_path):
    counting, told = Counting(pool), []
    simulations = Simulations(*parts, counting, tmp_path)
    found = simulations.simulate(RECIPES, lambda position, one: told.append((position, one)))
    assert [each.recipe for each in found] == RECIPES
    assert sorted(told, key=lambda pair: pair[0]) == list(enumerate(found))
    assert all(each.choices and not each.refusal for each in found)
    assert found[0].choices[0].size > 0
    assert found[0].choices[0].drop == 0
    kept, asked = files(tmp_path), len(counting.asked)
    assert len(kept) == len(RECIPES)
    assert Simulations(*parts, counting, tmp_path).simulate(RECIPES[::-1]) == found[::-1]
    assert (files(tmp_path), len(counting.asked)) == (kept, asked)


def test_the_answer_does_not_depend_on_how_many_work(parts, pool, tmp_path):
    with open_pool("local:1") as one:
        alone = Simulations(*parts, one, tmp_path / "alone").simulate(RECIPES)
    assert Simulations(*parts, pool, tmp_path / "two").simulate(RECIPES) == alone


def test_one_that_dies_costs_no_other_and_is_tried_again(parts, pool, tmp_path):
    lost = Counting(pool, lost=[str(RECIPES[1])])
    found = Simulations(*parts, lost, tmp_path).simulate(RECIPES)
    assert [each.refusal for each in found] == ["", "it was killed by SIGKILL", "", ""]
    assert lost.asked[-1] == [str(RECIPES[1])]  # at last alone
    assert len(files(tmp_path)) == len(RECIPES) - 1
    again = Counting(pool)
    assert not Simulations(*parts, again, tmp_path).simulate(RECIPES)[1].refusal
    assert again.asked == [[str(RECIPES[1])]]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"predictions": []}', b"null"])
def test_a_damaged_file_is_made_again(parts, pool, tmp_path, damage):
    first = Simulations(*parts, pool, tmp_path).simulate(RECIPES[:1])
    (file,) = files(tmp_path)
    file.write_bytes(damage)
    counting = Counting(pool)
    assert Simulations(*parts, counting, tmp_path).simulate(RECIPES[:1]) == first
    assert len(counting.asked) == 1


def test_another_sheet_or_subject_is_another_simulation(parts, pool, tmp_path):
    job, subject = parts
    Simulations(job, subject, pool, tmp_path).simulate(RECIPES[:1])
    wider = (
        dataclasses.replace(job.capability, threads=2)
        if dataclasses.is_dataclass(job.capability)
        else job.capability.model_copy(update={"threads": 2})
    )
    for other in (
        (dataclasses.replace(job, name="other"), subject),
        (dataclasses.replace(job, capability=wider), subject),
        (job, dataclasses.replace(subject, samples=5)),
    ):
        before = len(files(tmp_path))
        Simulations(*other, pool, tmp_path).simulate(RECIPES[:1])
        assert len(files(tmp_path)) == before + 1


def test_the_fault_of_the_spec_ends_it(parts, pool, tmp_path):
    recipe = parse_recipe("clean | quantize")
    with pytest.raises(
        Exception, match="calibration"
    ):  # the spec's fault: no candidate does better
        Simulations(*parts, pool, tmp_path).simulate([recipe])


def test_the_compact_library_is_expected_where_only_that_keeps_the_budgets():
    fast = Figures(size=3000, memory=10, latency=1.0)
    small = Figures(size=1000, memory=10, latency=2.0, compact=True)
    simulated = Simulated(RECIPES[0], choices=(fast, small))

    def expected(size):
        budgets = Budgets.model_validate({"size": f"{size} B"} if size else {})
        return simulated.figures(Limits(budgets))

    assert expected(4000) == fast
    assert expected(2000) == small
    assert expected(500) == small  # it comes nearer
    assert expected(None) == fast
    assert Simulated(RECIPES[0], refusal="no").figures(Limits(Budgets())) is None
