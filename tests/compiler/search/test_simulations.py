"""Simulations are kept as soon as they are known, none is made twice, and one that dies costs no other."""

import dataclasses

import pytest
from budgetc.build import write_models
from budgetc.cache import cache_folder
from budgetc.compile import job_for, load_inputs, subject_for
from budgetc.figures import Figures, Limits
from budgetc.hardware import hardware_of
from budgetc.learning import Learning
from budgetc.predict.latency import Clockwork
from budgetc.predict.prediction import Expected
from budgetc.predict.timings import Timing, Timings
from budgetc.registry import find_target
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


def simulating(parts, pool, folder, timings=()):
    job, subject = parts
    return Simulations(job, subject, pool, folder, Clockwork(timings, job.capability))


def files(folder):
    return {p: (p.stat().st_ino, p.read_bytes()) for p in folder.glob("*/*.json")}


def test_each_is_simulated_once_and_told_of(parts, pool, tmp_path):
    counting, told = Counting(pool), []
    simulations = simulating(parts, counting, tmp_path)
    found = simulations.simulate(RECIPES, lambda position, one: told.append((position, one)))
    assert [each.recipe for each in found] == RECIPES
    assert sorted(told, key=lambda pair: pair[0]) == list(enumerate(found))
    assert all(each.choices and not each.refusal for each in found)
    assert found[0].choices[0].size > 0
    assert found[0].choices[0].drop == 0
    kept, asked = files(tmp_path), len(counting.asked)
    assert len(kept) == len(RECIPES)
    assert simulating(parts, counting, tmp_path).simulate(RECIPES[::-1]) == found[::-1]
    assert (files(tmp_path), len(counting.asked)) == (kept, asked)


def test_what_is_kept_is_priced_by_what_was_measured_since(parts, pool, tmp_path):
    """Everything else stays as it was found, and on the disk."""
    (first,) = simulating(parts, pool, tmp_path).simulate(RECIPES[1:2])
    kept = files(tmp_path)
    assert {layer["basis"] for layer in first.layers} == {"roofline"}
    layers = [Expected.from_json(layer).layer for layer in first.layers]
    measured = [Timing.of(layer, seconds=0.125) for layer in layers]
    counting = Counting(pool)
    (priced,) = simulating(parts, counting, tmp_path, measured).simulate(RECIPES[1:2])
    assert not counting.asked
    assert files(tmp_path) == kept
    assert {layer["basis"] for layer in priced.layers} == {"measured"}
    assert [layer["seconds"] for layer in priced.layers] == [0.125] * len(layers)
    for now, before in zip(priced.choices, first.choices, strict=True):
        assert now.fastest < now.latency < now.slowest
        assert now.latency == pytest.approx(0.125 * len(layers), rel=1e-3)
        times = {"latency": 0.0, "fastest": 0.0, "slowest": 0.0}
        assert dataclasses.replace(now, **times) == dataclasses.replace(before, **times)


def test_a_worker_that_has_measured_something_itself_changes_nothing(parts, pool, tmp_path):
    """Workers may be other machines, and what they know is not what the next one knows."""
    job, _ = parts
    (first,) = simulating(parts, pool, tmp_path / "here").simulate(RECIPES[:1])
    layers = [Expected.from_json(layer).layer for layer in first.layers]
    timings = Timings(cache_folder() / "timings", find_target(job.kind), job.capability)
    timings.add(Timing.of(layer, seconds=0.5) for layer in layers)
    (again,) = simulating(parts, pool, tmp_path / "there").simulate(RECIPES[:1])
    assert again == first


def test_the_answer_does_not_depend_on_how_many_work(parts, pool, tmp_path):
    with open_pool("local:1") as one:
        alone = simulating(parts, one, tmp_path / "alone").simulate(RECIPES)
    assert simulating(parts, pool, tmp_path / "two").simulate(RECIPES) == alone


def test_one_that_dies_costs_no_other_and_is_tried_again(parts, pool, tmp_path):
    lost = Counting(pool, lost=[str(RECIPES[1])])
    found = simulating(parts, lost, tmp_path).simulate(RECIPES)
    assert [each.refusal for each in found] == ["", "it was killed by SIGKILL", "", ""]
    assert lost.asked[-1] == [str(RECIPES[1])]  # at last alone
    assert len(files(tmp_path)) == len(RECIPES) - 1
    again = Counting(pool)
    assert not simulating(parts, again, tmp_path).simulate(RECIPES)[1].refusal
    assert again.asked == [[str(RECIPES[1])]]


def test_a_damaged_file_is_made_again(parts, pool, tmp_path):
    first = simulating(parts, pool, tmp_path).simulate(RECIPES[:1])
    (file,) = files(tmp_path)
    for damage in (b"", b"{", b"[]", b'{"predictions": []}', b"null"):
        file.write_bytes(damage)
        counting = Counting(pool)
        assert simulating(parts, counting, tmp_path).simulate(RECIPES[:1]) == first, damage
        assert len(counting.asked) == 1, damage


def test_another_sheet_or_subject_is_another_simulation(parts, pool, tmp_path):
    job, subject = parts
    simulating(parts, pool, tmp_path).simulate(RECIPES[:1])
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
        simulating(other, pool, tmp_path).simulate(RECIPES[:1])
        assert len(files(tmp_path)) == before + 1


def test_the_fault_of_the_spec_ends_it(parts, pool, tmp_path):
    recipe = parse_recipe("clean | quantize")
    with pytest.raises(
        Exception, match="calibration"
    ):  # the spec's fault: no candidate does better
        simulating(parts, pool, tmp_path).simulate([recipe])


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


def test_a_recipe_that_trains_is_simulated_and_trains_once(parts, pool, tmp_path):
    pytest.importorskip("torch")
    job, subject = parts
    samples, _ = subject.validation
    learning = Learning(samples, "", None, (), samples.parent, 0, 60.0)
    parts = dataclasses.replace(job, learning=learning), subject
    recipes = [
        parse_recipe(f"prune{{align=1,ratio=0.5}} | distill{{epochs=1}}{more}")
        for more in ("", " | clean")
    ]
    first, second = simulating(parts, pool, tmp_path).simulate(recipes)
    assert first.choices, first.refusal
    assert second.choices, second.refusal
    assert first.ledger[1] == second.ledger[1]
    assert len(list((cache_folder() / "learned").rglob("*.json"))) == 1
    other = dataclasses.replace(job, learning=dataclasses.replace(learning, seed=7))
    counting = Counting(pool)
    simulating((other, subject), counting, tmp_path).simulate(recipes[:1])
    assert counting.asked == [[str(recipes[0])]]
