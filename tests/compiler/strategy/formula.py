"""A model of a model that can learn: what recipes come to is a formula of their steps."""

from dataclasses import dataclass, field

from budgetc.figures import Figures, Limits
from budgetc.measure.memory import Memory
from budgetc.measure.quality import Quality
from budgetc.measure.size import Size
from budgetc.progress import ignore
from budgetc.result import Trial
from budgetc.search.explorer import Effort, Explorer
from budgetc.search.knobs import Knobs
from budgetc.search.simulations import Simulated
from budgetc.search.space import Choice, Family, Space
from budgetc.verdict import Measurement, judge
from budgetc_specs.budgets import Budgets

WHOLE = 4000
SPACE = Space(
    (
        Family(
            "prune",
            "structure",
            tuple(Choice(n, (0.0, 0.5), (n,), p, 4 * p, p) for n, p in (("a", 10), ("b", 90))),
            (("method", ("replace", "fit")),),
        ),
        Family(
            "separable",
            "structure",
            (Choice("a", (0, 2, 1), ("a",), 10, 40, 10),),
            (("method", ("fit",)),),
        ),
        Family(
            "quantize",
            "codes",
            (Choice("a", ("float", "int8"), ("a",), 100, 400, 100),),
            (("calibration", ("minmax", "percentile", "mse")),),
        ),
    )
)


def size_of(recipe):
    """Pruning takes its share, splitting a fifth, codes three quarters, growth adds its ratio."""
    size = float(WHOLE)
    for step in recipe.steps:
        options = dict(step.options)
        size *= {
            "prune": 1 - options.get("ratio", 0.0),
            "separable": 0.8,
            "quantize": 0.25,
            "widen": 1 + options.get("ratio", 0.0),
        }.get(step.name, 1.0)
    return round(size)


def loss_of(recipe):
    """What is small loses more; epochs win it back, at most all; growth alone makes better than the model was."""
    names = [step.name for step in recipe.steps]
    epochs = sum(dict(s.options)["epochs"] for s in recipe.steps if s.name in {"distill", "qat"})
    lost = sum(dict(s.options).get("ratio", 0.0) for s in recipe.steps if s.name == "prune")
    lost += 0.3 * ("separable" in names) + 0.05 * ("quantize" in names) + 0.01 * ("widen" in names)
    lost -= 0.02 * ("quantize{calibration=mse,output=float}" in str(recipe))
    floor = -0.5 if "widen" in names else 0.0
    return 1.0 + floor + (lost - floor) / (1 + epochs)


@dataclass
class Formula:
    """In the place of simulations and of builds.

    Attributes:
        limits: the budgets.
        worse: by how much more is lost than what is held back tells.
        refused: a word of recipes that are refused.
    """

    limits: Limits
    worse: float = 0.0
    refused: str = "nothing"
    simulated: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)

    def simulate(self, recipes, done=lambda _position, _simulated: None, says=None):
        """What simulations answer."""
        del says  # nothing takes long here
        found = []
        for position, recipe in enumerate(recipes):
            self.simulated.append(str(recipe))
            taught = tuple(
                1.0 + dict(s.options)["epochs"]
                for s in recipe.steps
                if s.name in {"distill", "qat"}
            )
            loss = loss_of(recipe)
            figures = Figures(
                size_of(recipe), 100, drop=loss - 1, learns=True, surprise=loss, error=loss
            )
            one = Simulated(
                recipe, size_of(recipe), (), (figures,), quality=1 - loss, loss=loss, taught=taught
            )
            if self.refused in str(recipe):
                one = Simulated(recipe, refusal="it has no differentiable form")
            found.append(one)
            done(position, one)
        return found

    def measure(self, recipe, say, *, compact=False, alone=False):
        """What a builder answers; the verdicts are real."""
        del say, compact, alone
        self.built.append(str(recipe))
        drop = loss_of(recipe) - 1 + self.worse
        measurement = Measurement(
            Size(size_of(recipe), 0, 0, 0),
            Memory(100, 0, 0),
            latency=None,
            quality=Quality("top1", 1 - drop, 1.0, drop, drop, drop, 1000),
        )
        verdicts = judge(self.limits.budgets, measurement)
        kept = all(v.holds for v in verdicts)
        outcome = "feasible" if kept else "infeasible"
        return Trial(str(recipe), outcome, measurement=measurement, verdicts=verdicts), None

    def discard(self, built):
        """There is no library."""


def limits_of(size, drop=None, **more):
    """Budgets of size, of quality where it is said, and more; nothing foretells quality."""
    given = {"size": f"{size} B", **more}
    given |= {} if drop is None else {"quality": {"drop": f"{drop} pp"}}
    return Limits(Budgets.model_validate(given), foreseen=False)


def explorer_of(formula, effort=None):
    """Looks at recipes by the formula."""
    nothing = Space(())
    knobs = Knobs(nothing, lambda *_: 0.0, lambda *_: 0.0)
    effort = effort or Effort(40, float("inf"), 0, ("quality", "latency"))
    return Explorer(nothing, knobs, formula.limits, formula, effort, "host", ignore)
