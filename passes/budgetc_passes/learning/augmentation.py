"""Changes of samples that leave what is right about them: pictures, series and sound, and two samples mixed.

Which axes are places and which are channels is told by the shape: of a picture the shorter of the second and the last
axis are channels, of a series the longer one is time; the first axis is the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from budgetc_passes.contract import Batch

Array = npt.NDArray[Any]
Random = np.random.Generator

_PICTURE, _SERIES = 4, 3


def places(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes of an inference that are places or times, of its shape with the batch in front."""
    rank = len(shape)
    if rank == _PICTURE:
        return (2, 3) if shape[1] <= shape[3] else (1, 2)
    if rank == _SERIES:
        return (2,) if shape[1] <= shape[2] else (1,)
    return (rank - 1,) if rank > 1 else ()


def _each(batch: Batch, change: Callable[[Array, tuple[int, ...]], Array]) -> Batch:
    """The batch with its float inputs changed; axes are counted with that of inferences."""

    def made() -> Iterator[tuple[str, Array]]:
        for name, values in batch.inputs.items():
            axes = tuple(axis + 1 for axis in places(values.shape[1:]))
            changes = values.dtype == np.float32 and axes
            yield name, change(values, axes) if changes else values

    return replace(batch, inputs=dict(made()))


def _along(values: Array, axis: int, one: Array) -> Array:
    """An array [inferences, length] in a shape that meets the values along an axis."""
    shape = [1] * values.ndim
    shape[0], shape[axis] = one.shape
    return one.reshape(shape)


def _moved(values: Array, axis: int, by: Array) -> Array:
    """Each inference moved along an axis by a number of places; what comes in is zero."""
    made = np.zeros_like(values)
    length = values.shape[axis]
    source, goal = np.moveaxis(values, axis, 1), np.moveaxis(made, axis, 1)
    for places in np.unique(
        by
    ):  # those that move alike at once: several times quicker than by index
        some = by == places
        start, stop = max(places, 0), min(length, length + places)
        goal[some, start:stop] = source[some, start - places : stop - places]
    return made


def _share(name: str, option: str, value: float, *, most: float = 1.0) -> None:
    if not 0 < value <= most:
        message = f"{name}: {option} is {value}; it is above 0 and at most {most:g}"
        raise ValueError(message)


@dataclass(frozen=True)
class Flip:
    """Turns pictures from left to right, and series backwards; only where that means the same.

    Attributes:
        chance: with which each sample is turned.
    """

    name: ClassVar[str] = "flip"
    chance: float = 0.5

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "chance", self.chance)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Turn along the last axis of places."""

        def change(values: Array, axes: tuple[int, ...]) -> Array:
            turned = random.random(len(values)) < self.chance
            made = values.copy()
            made[turned] = np.flip(values[turned], axes[-1])
            return made

        return _each(batch, change)


@dataclass(frozen=True)
class Shift:
    """Moves each sample by a random number of places along each axis; what comes in is zero.

    Attributes:
        by: the farthest, as a share of the axis.
    """

    name: ClassVar[str] = "shift"
    by: float = 0.08

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "by", self.by)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Move."""

        def change(values: Array, axes: tuple[int, ...]) -> Array:
            for axis in axes:
                length = values.shape[axis]
                farthest = max(1, round(self.by * length))
                moved = random.integers(-farthest, farthest + 1, len(values))
                values = _moved(values, axis, moved)
            return values

        return _each(batch, change)


@dataclass(frozen=True)
class Crop:
    """Takes a part of each sample and spreads it over the whole, by nearest neighbours.

    Attributes:
        least: the smallest part, as a share of each axis.
    """

    name: ClassVar[str] = "crop"
    least: float = 0.85

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "least", self.least)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Cut out and spread, all axes by the same share."""

        def change(values: Array, axes: tuple[int, ...]) -> Array:
            part = random.uniform(self.least, 1, (len(values), 1))
            for axis in axes:
                length = values.shape[axis]
                start = random.random((len(values), 1)) * (1 - part) * length
                at = (start + (np.arange(length)[None] + 0.5) * part).astype(np.int64)
                at = _along(values, axis, np.clip(at, 0, length - 1))
                values = np.take_along_axis(values, at, axis)
            return values

        return _each(batch, change)


@dataclass(frozen=True)
class Noise:
    """Adds normal noise to each element.

    Attributes:
        deviation: its standard deviation, as a share of that of the batch.
    """

    name: ClassVar[str] = "noise"
    deviation: float = 0.1

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "deviation", self.deviation, most=10.0)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Add."""

        def change(values: Array, _: tuple[int, ...]) -> Array:
            size = np.float32(self.deviation * float(values.std()))
            made: Array = values + size * random.standard_normal(values.shape, np.float32)
            return made

        return _each(batch, change)


@dataclass(frozen=True)
class Scale:
    """Makes each sample louder or quieter, brighter or darker: all of it times one number.

    Attributes:
        by: the farthest from one, such as 0.2 for factors of 0.8 to 1.2.
    """

    name: ClassVar[str] = "scale"
    by: float = 0.2

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "by", self.by)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Multiply."""

        def change(values: Array, _: tuple[int, ...]) -> Array:
            factors = random.uniform(1 - self.by, 1 + self.by, len(values)).astype(np.float32)
            made: Array = values * factors.reshape(-1, *[1] * (values.ndim - 1))
            return made

        return _each(batch, change)


@dataclass(frozen=True)
class Erase:
    """Sets a box of each picture, or a stretch of each series, to zero.

    Attributes:
        share: the longest edge of the box, as a share of the axis.
        chance: with which a sample loses one.
    """

    name: ClassVar[str] = "erase"
    share: float = 0.3
    chance: float = 0.5

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "share", self.share)
        _share(self.name, "chance", self.chance)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Erase."""

        def change(values: Array, axes: tuple[int, ...]) -> Array:
            gone: Array = (random.random(len(values)) < self.chance).reshape(
                -1, *[1] * (values.ndim - 1)
            )
            for axis in axes:
                length = values.shape[axis]
                long = random.integers(1, max(1, round(self.share * length)) + 1, len(values))
                start = random.integers(0, length - long + 1)
                at = np.arange(length)[None]
                inside = (at >= start[:, None]) & (at < (start + long)[:, None])
                gone = gone & _along(values, axis, inside)
            return np.where(gone, np.zeros((), values.dtype), values)

        return _each(batch, change)


@dataclass(frozen=True)
class Mixup:
    """Mixes each sample with another one of its batch; what is right of both counts, in their shares.

    Source: Zhang et al. 2018, arXiv 1710.09412.

    Attributes:
        alpha: of the beta distribution that shares are drawn from; small ones leave most samples
            nearly alone.
    """

    name: ClassVar[str] = "mixup"
    alpha: float = 0.2

    def __post_init__(self) -> None:
        """Check the options."""
        _share(self.name, "alpha", self.alpha, most=10.0)

    def apply(self, batch: Batch, random: Random) -> Batch:
        """Mix all float inputs alike."""
        count = len(next(iter(batch.inputs.values())))
        partners = random.permutation(count)
        shares = random.beta(self.alpha, self.alpha, count).astype(np.float32)
        shares = np.maximum(shares, 1 - shares)

        def mixed(values: Array) -> Array:
            if values.dtype != np.float32:
                return values
            own = shares.reshape(-1, *[1] * (values.ndim - 1))
            made: Array = own * values + (1 - own) * values[partners]
            return made

        inputs = {name: mixed(values) for name, values in batch.inputs.items()}
        return Batch(inputs, partners, shares)
