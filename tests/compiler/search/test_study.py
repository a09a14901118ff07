"""What is tried next: first points that tell most, then proposals that are new, seeded, and drawn to the budgets."""

from budgetc.figures import Figures, Limits
from budgetc.search.knobs import STEPS, Knobs
from budgetc.search.settings import Settings
from budgetc.search.space import Choice, Family, Space
from budgetc.search.study import Proposal, Study, first_points, neighbours
from budgetc_specs.budgets import Budgets, SizeBudget

RATIOS = (0.0, 0.25, 0.5, 0.75)
SPACE = Space(
    (
        Family(
            "prune",
            "structure",
            tuple(Choice(f"g{n}", RATIOS, (f"g{n}",), 100, 400, 1000) for n in range(4)),
        ),
        Family(
            "quantize",
            "codes",
            tuple(Choice(f"l{n}", ("float", "int8"), (f"l{n}",), 100, 400, 1000) for n in range(5)),
            (("calibration", ("minmax", "mse")),),
        ),
    )
)
LIMITS = Limits(Budgets(size=SizeBudget(max_bytes=2600)))


def cost(family, part, level):
    index = SPACE.family(family).choice(part).levels.index(level)
    return index**2 * (1 + int(part[1:]))


def gain(family, part, level):
    return 100.0 * SPACE.family(family).choice(part).levels.index(level)


def knobs() -> Knobs:
    return Knobs(SPACE, cost, gain)


def figures(settings: Settings) -> Figures:
    """A model of a model: what settings would save and lose."""
    own = {(f, p): level for f, parts in settings.levels for p, level in parts}
    size = error = 0.0
    for family, choice in SPACE.choices():
        level = own.get((family.name, choice.name), choice.levels[0])
        size += 400 - 90 * choice.levels.index(level)
        error += cost(family.name, choice.name, level) / 1000
    return Figures(size=round(size), memory=10, drop=error, error=error)


def test_the_first_points_tell_most():
    points = first_points(SPACE, knobs(), 100)
    assert points[0].settings == Settings()
    settings = [p.settings for p in points]
    assert len(set(settings)) == len(settings)
    everything = {f"l{n}": "int8" for n in range(5)}
    assert SPACE.settings({"quantize": everything}) == settings[1]
    assert (
        SPACE.settings({"quantize": everything}, {"quantize": {"calibration": "mse"}})
        == settings[2]
    )
    for ratio in RATIOS[1:]:
        for options in ({}, {"quantize": {"calibration": "mse"}}):
            alike = {"prune": {f"g{n}": ratio for n in range(4)}, "quantize": everything}
            assert SPACE.settings(alike, options) in settings
    assert len(first_points(SPACE, knobs(), 3)) == 3


def test_what_codes_leave_in_float_is_in_shorter_floats_first():
    parts = tuple(Choice(f"l{n}", ("float", "bf16"), (f"l{n}",), 100, 400, 1000) for n in range(5))
    space = Space((*SPACE.families, Family("bf16", "halves", parts)))

    def flat(family, part, level):
        return 1.0 if level != "float" else 0.0

    points = first_points(space, Knobs(space, flat, flat), 100)
    every = {f"l{n}": "bf16" for n in range(5)}
    assert space.settings({"bf16": every}) in [p.settings for p in points]
    alike = {f"l{n}": "int8" for n in range(5)}
    assert points[1].settings == space.settings({"quantize": alike})
    kept = [p for p in points if p.origin == "most sensitive layers in shorter floats"]
    levels = [{name: dict(parts) for name, parts in point.settings.levels} for point in kept]
    assert all(each["bf16"] == every for each in levels)
    assert min(len(each["quantize"]) for each in levels) < 5


def test_uniform_and_ranked_positions():
    own = knobs()
    prune = SPACE.family("prune")
    for index, ratio in enumerate(RATIOS[1:]):
        params = {"prune.amount": own.amount_of(prune, index), "prune.order": "uniform"}
        assert own.settings(params) == SPACE.uniform("prune", ratio)
    most = own.settings({"prune.amount": STEPS, "prune.order": "ranked"})
    assert most == SPACE.uniform("prune", 0.75)
    little = own.settings({"quantize.amount": 1, "quantize.order": "ranked"})
    assert [p for p, _ in dict(little.levels)["quantize"]] == ["l0"]  # it costs least


def test_a_part_has_a_knob_of_its_own():
    own = knobs()
    moved = own.settings(
        {"quantize.amount": STEPS, "quantize.order": "uniform", "quantize.part.0": -1}
    )
    assert moved.level("quantize", "l4") is None  # the costliest stays as it is
    assert moved.level("quantize", "l0") == "int8"


def search(seed: int, count: int) -> list[Proposal]:
    study = Study(knobs(), LIMITS, ("quality",), seed)
    done = []
    for proposal in first_points(SPACE, knobs(), 10):
        study.tell(proposal, figures(proposal.settings))
    while len(done) < count:
        proposals = study.ask(4)
        if not proposals:
            break
        for proposal in proposals:
            study.tell(proposal, figures(proposal.settings))
        done += proposals
    return done


def test_the_same_seed_proposes_the_same_and_nothing_twice():
    one = search(0, 24)
    assert [p.settings for p in one] == [p.settings for p in search(0, 24)]
    assert [p.settings for p in one] != [p.settings for p in search(1, 24)]
    known = {p.settings for p in first_points(SPACE, knobs(), 10)}
    assert len({p.settings for p in one}) == len(one)
    assert not known & {p.settings for p in one}


def test_proposals_go_to_where_the_budgets_are_kept():
    late = [figures(p.settings) for p in search(0, 60)[30:]]
    kept = [f for f in late if f.size <= 2600]
    assert len(kept) >= len(late) / 4
    first = [figures(p.settings) for p in first_points(SPACE, knobs(), 10)]
    best_first = min((f.drop for f in first if f.size <= 2600), default=1.0)
    assert min(f.drop for f in kept) <= best_first


def test_a_study_toward_a_budget_makes_it_small():
    study = Study(knobs(), LIMITS, ("quality",), 0, toward="size")
    for proposal in first_points(SPACE, knobs(), 6):
        study.tell(proposal, figures(proposal.settings))
    sizes = []
    for _ in range(8):
        for proposal in study.ask(4):
            study.tell(proposal, figures(proposal.settings))
            sizes.append(figures(proposal.settings).size)
    assert (
        sum(sizes[-8:]) / 8
        < sum(figures(p.settings).size for p in first_points(SPACE, knobs(), 2)) / 2
    )
    assert study.ask(1)[0].origin == "toward size"


def test_what_was_refused_is_not_proposed_again():
    study = Study(knobs(), LIMITS, ("quality",), 0)
    point = first_points(SPACE, knobs(), 1)[0]
    study.tell(point, None)
    assert all(p.settings != point.settings for p in study.ask(20))


def test_a_space_without_choices_has_one_point_and_no_proposals():
    empty = Space(())
    own = Knobs(empty, cost, gain)
    assert [p.settings for p in first_points(empty, own, 10)] == [Settings()]
    assert Study(own, LIMITS, ("quality",), 0).ask(4) == []


def test_neighbours_differ_in_one_knob_options_first():
    point = Proposal(Settings(), "", {"prune.amount": 8, "prune.order": "uniform"})
    own = neighbours(SPACE, knobs(), point)
    turned = [[n for n, v in p.params.items() if point.params.get(n) != v] for p in own]
    assert all(len(names) == 1 for names in turned)
    kinds = ["amount" in n or 2 * (".part." in n) for (n,) in turned]
    assert kinds == sorted(kinds)
    assert len({p.settings for p in own}) == len(own)


def test_neighbours_of_what_is_no_point_of_the_knobs_differ_in_an_option_or_a_level():
    answer = SPACE.settings(
        {"prune": {"g0": 0.25}, "quantize": {"l0": "int8"}}, {"quantize": {"calibration": "mse"}}
    )
    own = [p.settings for p in neighbours(SPACE, knobs(), Proposal(answer, "an earlier search"))]
    assert len(set(own)) == len(own) == 1 + 5 + 5  # the option; two levels of g0, one of the rest
    assert own[0].option("quantize", "calibration") is None
    assert answer not in own


def test_what_is_outside_of_the_space_has_no_neighbours():
    outside = Proposal(Settings(), "without fuse", in_space=False)
    assert neighbours(SPACE, knobs(), outside) == []


def test_the_furthest_point_is_compared_with_its_other_options():
    own = [p.settings for p in neighbours(SPACE, knobs(), Proposal(SPACE.furthest(), "furthest"))]
    assert own[0].option("quantize", "calibration") == "mse"
