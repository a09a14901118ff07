"""A model of a model: what settings save and lose is a formula, so that a search of it takes no time."""

import time
from dataclasses import dataclass, field

from budgetc.figures import Figures, Limits
from budgetc.measure.latency import Interval, Latency, Timing
from budgetc.measure.memory import Memory
from budgetc.measure.quality import Quality
from budgetc.measure.size import Size
from budgetc.progress import ignore
from budgetc.regression import judge_regressions
from budgetc.result import Trial
from budgetc.search.explorer import Effort, Explorer
from budgetc.search.journal import Journal
from budgetc.search.knobs import Knobs
from budgetc.search.seeker import Seeker
from budgetc.search.selection import Selection
from budgetc.search.settings import Settings
from budgetc.search.simulations import Simulated
from budgetc.search.space import Choice, Family, Space
from budgetc.search.workshop import Workshop
from budgetc.verdict import Measurement, judge
from budgetc_specs.budgets import Budgets
from budgetc_specs.recipe import Step

RATIOS = (0.0, 0.25, 0.5, 0.75)
CODE = 50
"""Bytes of a library beside its weights."""


def _family(name, stage, levels, count, options=()):
    parts = (Choice(f"{name}{n}", levels, (f"{name}{n}",), 100, 400, 1000) for n in range(count))
    return Family(name, stage, tuple(parts), options)


@dataclass(frozen=True)
class Remembering(Space):
    """Knows which settings a recipe is of; steps that are not of its families change nothing."""

    made: dict[tuple[Step, ...], Settings] = field(
        default_factory=lambda: {(): Settings()}, compare=False
    )

    def recipe(self, settings):
        """As ever; with it, the recipe without each of its families."""
        own = super().recipe(settings)
        self.made[self.key(own)] = settings
        for name, _ in settings.levels:
            levels, options = settings.to_json()["levels"], settings.to_json()["options"]
            fewer = Settings.of(
                {k: v for k, v in levels.items() if k != name},
                {k: v for k, v in options.items() if k != name},
            )
            self.made[self.key(super().recipe(fewer))] = fewer
        return own

    def key(self, recipe):
        """The steps of its families."""
        names = {family.name for family in self.families}
        return tuple(step for step in recipe.steps if step.name in names)


def make_space():
    """Four groups to prune and five layers to code, with one option."""
    calibration = (("calibration", ("minmax", "mse")),)
    return Remembering(
        (
            _family("prune", "structure", RATIOS, 4),
            _family("quantize", "codes", ("float", "int8"), 5, calibration),
        )
    )


SPACE = make_space()


def cost(name, part, level):
    """What a level of a part loses: later parts lose more, codes little."""
    index = SPACE.family(name).choice(part).levels.index(level)
    return index**2 * (1 + int(part[-1])) / (1000 if name == "prune" else 100_000)


def gain(name, part, level):
    """Bytes that it saves."""
    index = SPACE.family(name).choice(part).levels.index(level)
    return index * (80.0 if name == "prune" else 300.0)


def figures_of(settings, slow_codes=0.0):
    """What settings come to: ranges taken by `mse` halve what codes lose, and codes may be slow."""
    size, drop, seconds = 4000.0, 0.0, 0.0
    better = settings.option("quantize", "calibration") == "mse"
    for own, choice in SPACE.choices():
        level = settings.level(own.name, choice.name) or choice.levels[0]
        codes = own.name == "quantize"
        size -= gain(own.name, choice.name, level)
        drop += cost(own.name, choice.name, level) * (0.5 if better and codes else 1.0)
        seconds += slow_codes if codes and level == "int8" else 0.0
    seconds += size / 4e8
    return Figures(
        size=round(size),
        memory=100,
        latency=seconds,
        fastest=seconds * 0.9,
        slowest=seconds * 1.1,
        drop=drop,
        least_drop=drop,
        greatest_drop=drop,
        value=1 - drop,
        greatest_value=1 - drop,
        error=drop,
    )


class Formula:
    """In the place of simulations and of builds: figures by the formula."""

    def __init__(self, world):
        self._world = world
        self.simulated, self.built = [], []

    def simulate(self, recipes, done=lambda _position, _simulated: None, says=None):
        """What simulations answer."""
        del says  # nothing takes long here
        found = []
        for position, recipe in enumerate(recipes):
            self.simulated.append(str(recipe))
            figures = self._world.figures(recipe)
            found.append(Simulated(recipe, figures.size - CODE, (), (figures,)))
            done(position, found[-1])
        return found

    def measure(self, recipe, say, *, compact=False, alone=False):
        """What a builder answers; the verdicts are real."""
        del say, compact, alone
        self.built.append(str(recipe))
        world = self._world
        figures = world.figures(recipe)
        drop = figures.drop + world.worse
        measurement = Measurement(
            Size(figures.size + world.grown, 0, 0, 0),
            Memory(figures.memory, 0, 0),
            latency=world.timed(figures.latency) if world.timing else None,
            quality=Quality("top1", 1 - drop, 1.0, drop, drop, drop, 1000),
        )
        verdicts = (
            *judge(world.limits.budgets, measurement),
            *judge_regressions(world.limits.regressions, measurement),
        )
        kept = all(v.holds for v in verdicts)
        return Trial(
            str(recipe),
            "feasible" if kept else "infeasible",
            measurement=measurement,
            verdicts=verdicts,
        ), None

    def discard(self, built):
        """There is no library."""


class World:
    """All parts of a search over the space.

    Args:
        folder: for the journal.
        size: budget in bytes, or None.
        drop: budget as a fraction, or None.
        objective: of the search.
        candidates: that it may look at.
        grown: bytes by which libraries turn out larger than was expected.
        worse: by how much more they lose.
        slow_codes: seconds that codes cost.
        seed: of the sampler.
        late: whether the time is up from the start.
        timing: whether libraries can be timed.
        regressions: what may have become worse since a baseline.
    """

    def __init__(
        self,
        folder,
        size=None,
        drop=None,
        objective=("quality", "latency"),
        candidates=40,
        grown=0,
        worse=0.0,
        slow_codes=0.0,
        seed=0,
        late=False,
        timing=True,
        regressions=(),
    ):
        given = {"size": size and f"{size} B", "quality": None}
        if drop is not None:
            given["quality"] = {"drop": f"{drop * 100:.12f} pp"}
        budgets = Budgets.model_validate({k: v for k, v in given.items() if v})
        self.limits = Limits(budgets, regressions=regressions)
        self.grown, self.worse, self.slow_codes = grown, worse, slow_codes
        self.timing = timing
        self.space = make_space()
        self.knobs = Knobs(self.space, cost, gain)
        self.formula = Formula(self)
        deadline = time.monotonic() + (-1 if late else 3600)
        self.effort = Effort(candidates, deadline, seed, objective)
        journal = Journal(folder / f"journal-{id(self)}")
        self.workshop = Workshop(self.formula, journal, "host", ignore)
        parts = (self.space, self.knobs, self.limits, self.formula)
        self.explorer = Explorer(*parts, self.effort, "host", ignore)
        self.selection = Selection(self.explorer, self.workshop, self.limits, self.effort)
        self.seeker = Seeker(*parts, self.workshop, self.effort, "host", ignore)

    def timed(self, seconds):
        """As long as was expected."""
        timing = Timing("ours", 100, *[seconds] * 5)
        return Latency(timing, {}, "p50", Interval(seconds, seconds), None, None, "PASS", 1)

    def figures(self, recipe):
        """By the formula."""
        return figures_of(self.space.made[self.space.key(recipe)], self.slow_codes)

    def best(self, size):
        """The least drop that keeps a size, of points with one level for all parts: what a grid would find."""
        found = []
        for ratio in RATIOS:
            for level in ("float", "int8"):
                for calibration in ("minmax", "mse"):
                    levels = {
                        "prune": {f"prune{n}": ratio for n in range(4)},
                        "quantize": {f"quantize{n}": level for n in range(5)},
                    }
                    options = {"quantize": {"calibration": calibration}}
                    found.append(figures_of(self.space.settings(levels, options)))
        return min((f.drop for f in found if f.size <= size), default=None)
