"""Candidates simulated in a pool, several at once, and kept so that none is simulated twice."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc_specs.recipe import Recipe

from budgetc.build import CHILD_BYTES, Job, further_file, learning_seconds
from budgetc.figures import Figures, Limits
from budgetc.learning import learners
from budgetc.predict.latency import Clockwork
from budgetc.predict.prediction import Prediction
from budgetc.search.pool import Pool
from budgetc.search.simulation import Subject
from budgetc.search.tasks import Task
from budgetc.store import Shelf

CHUNK = 4
"""Recipes that one child simulates at most: it starts up once for all of them, and they share its work."""

SECONDS_A_RECIPE = 600.0


@dataclass(frozen=True)
class Simulated:
    """What is known of a candidate that was not built.

    Attributes:
        recipe: of the candidate.
        weight_bytes: weights of the optimised model.
        ledger: what each pass did.
        choices: figures of the fastest library, and of the compact one where that is another.
        layers: of the fastest, in the order of the calls.
        refusal: why there is nothing else, or nothing.
        arena: bytes of workspace for the first entry point, of the compact library where there is one.
        arena_bound: what its calls are proven to need, in any order.
        quality: the metric on the validation data; None where nothing tells it.
        loss: surprise at their labels; None where they are no classes, or nothing learns.
        taught: seconds that each of its trainings took, whenever that was.
    """

    recipe: Recipe
    weight_bytes: int = 0
    ledger: tuple[Mapping[str, Any], ...] = ()
    choices: tuple[Figures, ...] = ()
    layers: tuple[Mapping[str, Any], ...] = ()
    refusal: str = ""
    arena: int = 0
    arena_bound: int = 0
    quality: float | None = None
    loss: float | None = None
    taught: tuple[float, ...] = ()

    def figures(self, limits: Limits) -> Figures | None:
        """What to expect of the library that would be built: the compact one where only that keeps the budgets."""
        if not self.choices:
            return None
        fastest, *compact = self.choices
        excess = limits.excess(fastest)
        too_large = any(excess.get(name, 0.0) > 0 for name in ("size", "memory"))
        if too_large and compact and _worst(limits, compact[0]) < _worst(limits, fastest):
            return compact[0]
        return fastest


def _worst(limits: Limits, figures: Figures) -> float:
    return max(limits.excess(figures).values(), default=0.0)


class Simulations:
    """Simulates recipes of one model on one target.

    Quality and sizes are kept and stay as they are. What a library will take in time depends on what was measured
    until today, so that it is told anew each time, by one clock for all recipes.

    Args:
        job: what all candidates share.
        subject: what recipes are simulated on.
        pool: where simulations run.
        folder: where they are kept, by the digest of all that they depend on.
        clock: tells how long calls take.
        learns: whether candidates may become better than the model, `Figures.learns`; their surprise at labels is
            asked for then.
    """

    def __init__(
        self,
        job: Job,
        subject: Subject,
        pool: Pool,
        folder: Path,
        clock: Clockwork,
        *,
        learns: bool = False,
    ) -> None:
        self._job, self._subject, self._pool = job, subject, pool
        self._shelf, self._clock, self._learns = Shelf(folder), clock, learns

    def simulate(
        self,
        recipes: Sequence[Recipe],
        done: Callable[[int, Simulated], None] = lambda _position, _simulated: None,
        says: Callable[[int, str], None] = lambda _position, _text: None,
    ) -> list[Simulated]:
        """Simulate recipes; each is on the disk as soon as it is known.

        Args:
            recipes: which.
            done: told the position of each that has ended, and what came of it; maybe from another thread, but one
                after another.
            says: told the position of one that takes long, and how far it is; from any thread.

        Raises:
            SpecError, EnvironmentError_: the spec or this machine is at fault.
        """
        found: dict[int, Simulated] = {}
        one_at_a_time = threading.Lock()

        def take(position: int, answer: Mapping[str, Any], *, keep: bool) -> None:
            with one_at_a_time:
                if position in found:
                    return
                found[position] = self._simulated(recipes[position], answer)
                if keep:
                    self._shelf.put(self._key(recipes[position]), answer)
                done(position, found[position])

        for position, recipe in enumerate(recipes):
            known = self._shelf.get(self._key(recipe))
            if known is not None:
                take(position, known, keep=False)
        for size in (CHUNK, 1):  # what shared its child with one that died gets a child of its own
            open_ = [p for p in range(len(recipes)) if p not in found]
            refusals: dict[int, str] = {}
            for positions, answers, refusal in self._run(recipes, open_, size, take, says):
                for position, answer in zip(positions, answers, strict=False):
                    take(position, answer, keep=True)
                refusals |= dict.fromkeys(positions, refusal)
            if size == 1:  # not kept: there may be more time or memory another time
                for position in open_:
                    take(position, {"refused": refusals[position]}, keep=False)
        return [found[position] for position in range(len(recipes))]

    def _run(
        self, recipes: Sequence[Recipe], open_: Sequence[int], size: int, take: Any, says: Any
    ) -> Iterator[tuple[Sequence[int], list[Any], str]]:
        """Positions that went to one child, what it answered, and why it did not."""
        each = max(1, min(size, math.ceil(len(open_) / self._pool.workers)))
        chunks = [open_[at : at + each] for at in range(0, len(open_), each)]

        def heard(index: int, message: dict[str, Any]) -> None:
            if "found" in message:
                take(chunks[index][message["index"]], message["found"], keep=True)
            elif "stage" in message:
                says(chunks[index][message["index"]], message["stage"])

        tasks = [self._task([recipes[p] for p in positions]) for positions in chunks]
        for index, answer in self._pool.map(tasks, heard):
            yield chunks[index], answer.result or [], answer.refusal

    def _task(self, recipes: Sequence[Recipe]) -> Task:
        job, subject = self._job, self._subject
        files = {"model": job.model_file}
        if subject.calibration:
            files["calibration"] = subject.calibration[0]
        if subject.validation:
            files["validation"] = subject.validation[0]
        for number in range(1, len(job.model.entries)):
            files[f"further_{number}"] = further_file(job.model_file, number)
        learning = job.learning if any(map(learners, recipes)) else None
        if learning is not None:
            files["training"] = learning.samples
            if learning.teacher is not None:
                files["teacher"] = learning.teacher
        return Task(
            "budgetc.search.foresight:foresee",
            {
                "source": str(subject.source),
                "recipes": [str(recipe) for recipe in recipes],
                "capability": job.capability.model_dump(mode="json"),
                "kind": job.kind,
                "library": job.library,
                "name": job.name,
                "metric": subject.metric,
                "metric_folder": str(subject.folder) if subject.folder else None,
                "samples": subject.samples,
                "seed": subject.seed,
                "surprised": self._learns,
                "learning": learning.to_json() if learning else None,
            },
            files,
            timeout_s=sum(SECONDS_A_RECIPE + learning_seconds(job, each) for each in recipes),
            memory_bytes=CHILD_BYTES,
        )

    def _key(self, recipe: Recipe) -> dict[str, Any]:
        job = self._job
        trains = job.learning is not None and bool(learners(recipe))
        return {
            **self._subject.key(recipe),
            **({"learning": job.learning.digests()} if trains and job.learning else {}),
            "surprised": self._learns,
            "entries": [model.digest for model in job.model.entries],
            "sheet": job.capability.model_dump(mode="json"),
            "library": [job.kind, job.library, job.name],
        }

    def _simulated(self, recipe: Recipe, answer: Mapping[str, Any]) -> Simulated:
        if answer.get("refused"):
            return Simulated(recipe, refusal=answer["refused"])
        predictions = [Prediction.from_json(each) for each in answer["predictions"]]
        entries = [self._clock.again(each.first) for each in predictions]
        choices = [
            Figures(
                size=prediction.size,
                memory=prediction.memory,
                latency=entry.latency,
                fastest=entry.interval[0],
                slowest=entry.interval[1],
                drop=answer.get("drop"),
                least_drop=answer.get("low"),
                greatest_drop=answer.get("high"),
                value=answer.get("value"),
                greatest_value=answer.get("value_high"),
                error=answer["error"],
                compact=bool(number),
                learns=self._learns,
                surprise=answer.get("loss"),
            )
            for number, (prediction, entry) in enumerate(zip(predictions, entries, strict=True))
        ]
        return Simulated(
            recipe,
            answer["weight_bytes"],
            tuple(answer["ledger"]),
            tuple(choices),
            tuple(layer.to_json() for layer in entries[0].layers),
            arena=entries[-1].arena,
            arena_bound=entries[-1].arena_bound,
            quality=answer.get("value"),
            loss=answer.get("loss"),
            taught=tuple(answer["taught"]),
        )
