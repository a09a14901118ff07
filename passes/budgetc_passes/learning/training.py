"""The loop of training: steps, validation, the best epoch, checkpoints, and an end in time.

Everything that is drawn at random in an epoch is drawn from the seed and the number of the epoch, so that a run that
was cut short goes on exactly as an undisturbed one.
"""

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from budgetc_passes.contract import Checkpoint
from budgetc_passes.learning.differentiable import Net

THREADS = 1
"""Of torch while it trains: sums depend on their number, and more would wait for each other in small models."""

_WARM_UP = 0.05
_CHECKPOINT_SECONDS = 1.0
_STEEPEST = 5.0

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """How a model is trained.

    Attributes:
        epochs: times that all samples are seen, at most.
        batch: inferences a step.
        rate: highest rate of learning; it rises to it and falls to nothing along half a cosine.
        decay: share of the weights that AdamW takes off a step, times the rate.
        patience: epochs without an improvement after which training ends; 0 for none.
        seed: of everything that is drawn at random.
        seconds: longest that training may take.
    """

    epochs: int
    batch: int
    rate: float
    decay: float
    patience: int
    seed: int = 0
    seconds: float = math.inf


@dataclass(frozen=True)
class Score:
    """How good a model is on the samples that are held back.

    Attributes:
        quality: for people; more is better.
        loss: less is better. It decides, since it moves where the quality of a few samples does not.
    """

    quality: float
    loss: float

    def beats(self, other: "Score") -> bool:
        """Whether it is better."""
        return self.loss < other.loss


class Course(Protocol):
    """What is to be learned."""

    quality: str

    def size(self) -> int:
        """How many inferences there are to learn from."""
        ...

    def loss(self, net: Net, rows: Rows, random: np.random.Generator) -> Tensor:
        """The loss of some of them, to be made smaller."""
        ...

    def score(self, net: Net) -> Score:
        """How good the model is on what is held back."""
        ...


@dataclass(frozen=True)
class Trained:
    """What training came to; the net has the weights of the best epoch.

    Attributes:
        before: the score before the first step.
        best: that of the best epoch.
        best_epoch: from 1; 0 where no epoch was better than what was there before.
        epochs: that were trained.
        planned: epochs that were planned.
        why: why there were no more; empty where all were trained.
    """

    before: Score
    best: Score
    best_epoch: int
    epochs: int
    planned: int
    why: str


def rate_at(plan: Plan, part: float) -> float:
    """The rate of learning when a part of all steps is done, 0 to 1."""
    if part < _WARM_UP:
        return plan.rate * (part / _WARM_UP * 0.9 + 0.1)
    return plan.rate * 0.5 * (1 + math.cos(math.pi * (part - _WARM_UP) / (1 - _WARM_UP)))


def train(
    net: Net,
    course: Course,
    plan: Plan,
    checkpoint: Checkpoint,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Train a net; the best epoch's weights are in it in the end.

    Args:
        net: what is trained.
        course: what it is to learn.
        plan: how.
        checkpoint: of this very training: an earlier run may have left something.
        say: told after each epoch how it went, and what time is left.
        clock: in seconds.
    """
    torch.manual_seed(plan.seed)
    memory: Any = torch.utils.deterministic  # torch says of it what types it has at run time
    threads, filled = torch.get_num_threads(), memory.fill_uninitialized_memory
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    memory.fill_uninitialized_memory = False  # nothing reads what it fills, and that takes time
    try:
        return _Run(net, course, plan, checkpoint, say, clock).finish()
    finally:
        memory.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(mode=False)
        torch.set_num_threads(threads)


class _Run:
    """One training, from its start or from a checkpoint."""

    def __init__(
        self,
        net: Net,
        course: Course,
        plan: Plan,
        checkpoint: Checkpoint,
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._net, self._course, self._plan = net, course, plan
        self._checkpoint, self._say, self._clock = checkpoint, say, clock
        self._optimizer = torch.optim.AdamW(
            _decaying(net, plan.decay), lr=plan.rate, betas=(0.9, 0.99), fused=True
        )
        self._epoch = self._best_epoch = 0
        self._epochs = plan.epochs
        self._spent, self._begin = 0.0, clock()
        self._saved = -math.inf
        if not self._resume():
            self._before = self._best = course.score(net)
            self._best_state = net.state()

    def finish(self) -> Trained:
        """Go on to the end."""
        why = ""
        while self._epoch < self._epochs and not why:
            self._learn()
            self._judge()
            seconds = self._seconds()
            each = seconds / self._epoch
            if each * self._epochs > self._plan.seconds:  # fewer, so that the rate falls in time
                self._epochs = max(self._epoch, int(self._plan.seconds / each))
            if seconds + each > self._plan.seconds:
                why = "the time was over"
            elif self._plan.patience and self._epoch - self._best_epoch >= self._plan.patience:
                why = f"no improvement in {self._plan.patience} epochs"
            self._report(each)
            self._save(done=bool(why) or self._epoch == self._epochs)
        if not why and self._epochs < self._plan.epochs:
            why = "there was no time for more"
        self._net.restore(self._best_state)
        return Trained(
            self._before, self._best, self._best_epoch, self._epoch, self._plan.epochs, why
        )

    def _seconds(self) -> float:
        """What was spent on it so far, in earlier runs too."""
        return self._spent + self._clock() - self._begin

    def _learn(self) -> None:
        """One epoch."""
        random = np.random.default_rng([self._plan.seed, self._epoch])
        order = random.permutation(self._course.size())
        starts = range(0, len(order), self._plan.batch)
        self._net.train()
        for number, start in enumerate(starts):
            done = (self._epoch + number / len(starts)) / self._epochs
            for group in self._optimizer.param_groups:
                group["lr"] = rate_at(self._plan, done)
            loss = self._course.loss(self._net, order[start : start + self._plan.batch], random)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self._net.parameters(), _STEEPEST)
            self._optimizer.step()
        self._epoch += 1

    def _judge(self) -> None:
        """Keep the weights if they are the best so far."""
        self._last = self._course.score(self._net)
        if math.isfinite(self._last.loss) and self._last.beats(self._best):
            self._best, self._best_epoch = self._last, self._epoch
            self._best_state = self._net.state()

    def _report(self, each: float) -> None:
        left = min(each * (self._epochs - self._epoch), self._plan.seconds - self._seconds())
        minutes, seconds = divmod(max(0, round(left)), 60)
        self._say(
            f"epoch {self._epoch}/{self._epochs}: loss {self._last.loss:.4g}, "
            f"{self._course.quality} {self._last.quality:.4f}, {minutes}:{seconds:02} left"
        )

    def _save(self, *, done: bool) -> None:
        now = self._clock()
        if now - self._saved < _CHECKPOINT_SECONDS and not done:
            return
        self._saved = now
        held = io.BytesIO()
        torch.save(
            {
                "plan": asdict(self._plan),
                "epoch": self._epoch,
                "epochs": self._epochs,
                "spent": self._seconds(),
                "scores": [[s.quality, s.loss] for s in (self._before, self._best)],
                "best epoch": self._best_epoch,
                "best": self._best_state,
                "net": self._net.state(),
                "optimizer": self._optimizer.state_dict(),
            },
            held,
        )
        self._checkpoint.save(held.getvalue())

    def _resume(self) -> bool:
        """Take up what an earlier run has left; False where it left nothing that fits."""
        data = self._checkpoint.load()
        if data is None:
            return False
        try:
            kept: Mapping[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
            if kept["plan"] != asdict(self._plan):
                return False
            self._net.restore(kept["net"])
            self._optimizer.load_state_dict(kept["optimizer"])
        except (KeyError, ValueError, RuntimeError, EOFError):  # another version's
            return False
        self._epoch, self._epochs = kept["epoch"], kept["epochs"]
        self._spent, self._best_epoch = kept["spent"], kept["best epoch"]
        self._before, self._best = (Score(*each) for each in kept["scores"])
        self._best_state = kept["best"]
        self._say(f"going on after epoch {self._epoch}")
        return True


def _decaying(net: Net, decay: float) -> list[dict[str, Any]]:
    """Weights that become smaller by themselves, and the rest: biases, scales, slopes."""
    weights = list(net.weights.values())
    return [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
