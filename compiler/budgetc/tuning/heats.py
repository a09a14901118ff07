"""Races where they are run: here or on devices, on several at once, and again where a device is lost."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from budgetc_specs.capability import Capability
from budgetc_specs.errors import TargetUnreachableError
from budgetc_targets.contract import Point, Runner, SharedDevice, Target

from budgetc.lower.points import Work
from budgetc.measure.conversation import BinaryError
from budgetc.tuning.contenders import compile_contenders
from budgetc.tuning.race import advantage

LOSSES = 3
"""Devices that one race may lose before nobody gets it any more: it may be what they die of."""

Samples = list[list[float]]


@dataclass(frozen=True)
class Outcome:
    """What came of a race.

    Attributes:
        samples: nanoseconds of a call of each kernel in each round; None where one of them crashed.
        winner: the kernel that beats the first one, also where only the two race: the best of several is lucky too.
            0 where none does.
    """

    samples: Samples | None
    winner: int = 0


class Heats:
    """Compiles kernels for races.

    Args:
        target: whose kernels they are.
        capability: its sheet.
        runner: runs programs at the target's own speed.

    Attributes:
        lost: what was said of each device that was lost.
    """

    def __init__(self, target: Target, capability: Capability, runner: Runner) -> None:
        self._target, self._capability, self.runner = target, capability, runner
        self.lost: list[str] = []

    def places(self) -> int:
        """How many races may be run at once.

        Raises:
            TargetUnreachableError: there are devices at other times only.
        """
        return self.runner.places() if isinstance(self.runner, SharedDevice) else 1

    def compiled(self, chosen: Sequence[tuple[Work, Point]]) -> "Heat":
        """Kernels at points, ready to race. Imports tvm."""
        return Heat(self, chosen, self._target, self._capability)


class Heat:
    """One race: kernels at points, compiled in a folder that ends with it. A context manager, or ended by `Running`."""

    def __init__(
        self,
        heats: Heats,
        chosen: Sequence[tuple[Work, Point]],
        target: Target,
        capability: Capability,
    ) -> None:
        self._heats = heats
        self._folder = tempfile.TemporaryDirectory(prefix="budgetc-tune-")
        self._contenders = compile_contenders(
            chosen, target, capability, heats.runner, Path(self._folder.name)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def machines(self) -> Sequence[str]:
        """What it was run on."""
        return self._contenders.machines

    def measure(self) -> Outcome:
        """Race them all, without a winner.

        Raises:
            TargetUnreachableError: no device is left, or too many were lost by this race.
        """
        with self._contenders:
            return Outcome(self._samples())

    def decide(self) -> Outcome:
        """Race them all, and then the first one and the best of the others.

        Raises:
            TargetUnreachableError: no device is left, or too many were lost by this race.
        """
        with self._contenders:
            samples = self._samples()
            if samples is None:
                return Outcome(None)
            gains = [advantage(s, samples[0]) for s in samples[1:]]
            best = max(range(len(gains)), key=gains.__getitem__, default=-1)
            if best < 0 or not gains[best]:
                return Outcome(samples)
            again = self._samples(0, best + 1)
            won = again is not None and advantage(again[1], again[0]) > 0
            return Outcome(samples, best + 1 if won else 0)

    def _samples(self, *numbers: int) -> Samples | None:
        for losses in range(1, LOSSES + 1):
            try:
                return self._contenders.race(*numbers)
            except BinaryError:
                return None
            except TargetUnreachableError as lost:
                self._heats.lost.append(lost.message)
                if losses == LOSSES or not isinstance(self._heats.runner, SharedDevice):
                    raise
                self._heats.places()  # raises where none is left
        raise AssertionError("BUG: neither samples nor an error")


Finish = Callable[[Heat, Outcome], None]


class Running:
    """Heats that are being run by threads; what comes of each is handled in the thread that waits for it.

    Attributes:
        failed: the first error; those that run are finished all the same, so that nothing of them is lost.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._heats: dict[Future[Outcome], tuple[Heat, Finish]] = {}
        self.failed: TargetUnreachableError | None = None

    def begin(self, heat: Heat, run: Callable[[], Outcome], finish: Finish) -> None:
        """Run a heat by one of its methods, and have it handled by `finish` when it has ended well."""
        self._heats[self._pool.submit(run)] = heat, finish

    def one(self) -> None:
        """Wait until one has ended, and handle it."""
        done, _ = wait(self._heats, return_when=FIRST_COMPLETED)
        for future in done:
            heat, finish = self._heats.pop(future)
            with heat:
                try:
                    found = future.result()
                except TargetUnreachableError as error:
                    self.failed = self.failed or error
                else:
                    finish(heat, found)

    def finish(self) -> None:
        """Wait for them all.

        Raises:
            TargetUnreachableError: one of them found no device.
        """
        while self._heats:
            self.one()
        if self.failed:
            raise self.failed
