"""Convolution-like tasks with random numbers, and what numpy says their results are."""

import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import ml_dtypes
import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Point
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply
from budgetc_targets.task import Access, Task
from kernel_runner import Array, Job, Written, family, nhwc, requantise, requantised, spread


@dataclass(frozen=True)
class Window:
    """A convolution: its shape, where it runs, and the numbers that go in."""

    kind: str = "convolution"
    integer: bool = True
    halves: bool = (
        False  # bfloat16 goes in, and comes out where there is a residual; integer is False then
    )
    batch: int = 1
    channels: int = 8
    filters: int = 8
    kernel: tuple[int, int] = (3, 3)
    out: tuple[int, int] = (5, 6)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    spare: tuple[int, int] = (0, 0)  # rows and columns of the input that no window reaches
    row_gap: int = 0  # elements between the rows of the output
    weight_range: int = 64
    extreme: bool = False  # every number at the end of its range
    parallel: bool = False
    residual: bool = False
    in_place: bool = False
    zero: int = 0

    @property
    def name(self) -> str:
        base = Window()
        parts = [f"{k}={v}" for k, v in vars(self).items() if v != getattr(base, k)]
        return " ".join(parts).replace(", ", "x") or "default"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        sizes = [
            (o - 1) * s + (k - 1) * d + 1 + spare
            for o, s, k, d, spare in zip(
                self.out, self.stride, self.kernel, self.dilation, self.spare, strict=True
            )
        ]
        return (self.batch, self.channels, sizes[0], sizes[1])


@dataclass
class Numbers:
    """The numbers of a window: x (n, h, w, c), weight (o, c / groups, kh, kw), bias, scale, residual (n, h, w, o)."""

    window: Window
    rng: Any = field(init=False)

    def __post_init__(self) -> None:
        w = self.window
        self.rng = rng = np.random.default_rng(zlib.crc32(w.name.encode()))
        n, c, h, width = w.input_shape
        weights = (w.filters, c // w.groups, *w.kernel)
        out = (n, *w.out, w.filters)
        self.residual: Array = rng.integers(0, 256, out).astype(np.uint8)
        if w.integer:
            r = w.weight_range
            self.x = rng.integers(0, 256, (n, h, width, c)).astype(np.uint8)
            self.weight = rng.integers(-r, r + 1, weights).astype(np.int8)
            if w.extreme:
                self.x[:] = 255
                signs = rng.choice([-1, 1], (w.filters, 1, 1, 1))
                self.weight[:] = np.clip(np.broadcast_to(signs * r, weights), -128, 127)
            self.bias = rng.integers(-5000, 5000, w.filters).astype(np.int32)
            reach = 255 * r * np.prod(weights[1:])
            self.scale = (rng.uniform(0.5, 1.5, w.filters) * 400 / reach).astype(np.float32)
        else:
            self.x = rng.standard_normal((n, h, width, c)).astype(np.float32)
            self.weight = rng.standard_normal(weights).astype(np.float32)
            self.bias = rng.standard_normal(w.filters).astype(np.float32)
            self.scale = rng.standard_normal(w.filters).astype(np.float32)
        if w.halves:
            self.x, self.weight = (a.astype(ml_dtypes.bfloat16) for a in (self.x, self.weight))
            self.residual = rng.standard_normal(out).astype(ml_dtypes.bfloat16)

    def sums(self) -> Array:
        """Products over the window plus the bias, exact (integers) or in f64, as (n, h, w, o)."""
        w = self.window
        wide = np.int64 if w.integer else np.float64
        oh, ow = w.out
        (sh, sw), (dh, dw) = w.stride, w.dilation
        each, filters = w.channels // w.groups, w.filters // w.groups
        total = np.zeros((w.batch, oh, ow, w.filters), wide) + self.bias.astype(wide)
        for g in range(w.groups):
            mine = slice(g * filters, (g + 1) * filters)
            for a in range(w.kernel[0]):
                for b in range(w.kernel[1]):
                    rows = slice(a * dh, a * dh + (oh - 1) * sh + 1, sh)
                    columns = slice(b * dw, b * dw + (ow - 1) * sw + 1, sw)
                    x = self.x[:, rows, columns, g * each : (g + 1) * each].astype(wide)
                    total[..., mine] += x @ self.weight[mine, :, a, b].astype(wide).T
        return total

    def expected(self) -> Array:
        """What the kernel stores, as (n, h, w, o); f32 results in f64."""
        w, sums = self.window, self.sums()
        if not w.integer:
            leaky = np.maximum(sums, sums * self.scale)
            return leaky + self.residual.astype(np.float64) if w.residual else leaky
        done = requantised(sums, self.scale, w.zero)
        if w.residual:
            done = np.minimum(done.astype(np.int64) + self.residual, 255).astype(np.uint8)
        return done

    def tolerance(self) -> float:
        """How far f32 sums of this length and size may be off."""
        terms = int(np.prod(self.weight.shape[1:])) + 2
        largest = [np.abs(a.astype(np.float64)).max() for a in (self.x, self.weight, self.scale)]
        size = largest[0] * largest[1] * max(1.0, largest[2])
        return float(terms * size * 2**-23)


def task_of(window: Window) -> Task:
    """The task: requantised u8, or a leaky activation in f32."""
    kind = "uint8" if window.integer else "bfloat16" if window.halves else "float32"
    stored = "float32" if window.halves and not window.residual else kind
    shape = (window.batch, window.filters, *window.out)
    output = nhwc(stored, shape, window.out[1] * window.filters + window.row_gap)
    operands: tuple[Access, ...] = (Access("float32", shape, (0, 1, 0, 0)),)
    expression: Expr = requantise(0, window.zero)
    if not window.integer:
        expression = apply("max", ACCUMULATOR, apply("mul", ACCUMULATOR, Ref(0)))
    if window.residual and window.halves:
        operands += (output,)
        expression = apply("round_bf16", apply("add", expression, Ref(1)))
    elif window.residual:
        operands += (output,)
        expression = apply("min", apply("add", expression, Ref(1)), Const(255, "int32"))
    return Task(
        window.kind,
        (nhwc(kind, window.input_shape),),
        output,
        expression,
        operands,
        (
            ("kernel", window.kernel),
            ("stride", window.stride),
            ("dilation", window.dilation),
            ("groups", window.groups),
            ("weight_range", window.weight_range),
        ),
        may_alias=window.in_place,
        parallel=window.parallel,
    )


def job_of(name: str, window: Window, capability: Capability, point: Point | None = None) -> Job:
    """The job of a window on a target at one point of the space."""
    numbers, task = Numbers(window), task_of(window)
    arrays: list[Array] = [numbers.x.ravel(), numbers.scale]
    if window.residual:
        arrays.append(spread(task.output, numbers.residual.transpose(0, 3, 1, 2)))
    thirds = ((0.0, 0.34), (0.67, 1.0), (0.34, 0.67))
    return Job(
        name,
        task,
        capability,
        tuple(arrays),
        {"weight": numbers.weight, "bias": numbers.bias},
        point,
        ranges=thirds if window.parallel else ((0.0, 1.0),),
        alias=1 if window.in_place else None,
    )


def jobs_of(window: Window, capability: Capability, *, every_point: bool = False) -> list[Job]:
    """A job for the default point, or for every point of the space."""
    task = task_of(window)
    points = family(window.kind).space(task, capability)
    chosen = points if every_point else points[:1]
    label = f"{capability.cpu} {capability.int8_dot}"
    return [
        job_of(f"{window.name} | {label} | {dict(point)}", window, capability, point)
        for point in chosen
    ]


def check(window: Window, job: Job, written: Written) -> None:
    """Integers exact, f32 by the length of the sum; nothing written beside the output."""
    numbers = Numbers(window)
    assert written.intact, "wrote outside the output"
    got = written.view(job.task.output).transpose(0, 2, 3, 1)
    want = numbers.expected()
    if window.integer:
        np.testing.assert_array_equal(got, want)
    else:
        rounded = 2**-8 * np.abs(want) if window.halves and window.residual else 0.0
        assert (np.abs(got.astype(np.float64) - want) <= numbers.tolerance() + rounded).all()
    if window.row_gap:
        gaps = np.lib.stride_tricks.as_strided(
            written.memory[window.out[1] * window.filters :],
            (window.out[0] - 1, window.row_gap),
            (job.task.output.strides[2] * written.memory.itemsize, written.memory.itemsize),
        )
        assert (gaps.view(np.uint8) == 0xA5).all() if gaps.size else True


def variants(base: Window, **choices: tuple[Any, ...]) -> list[Window]:
    """The base with each choice of one field at a time."""
    return [replace(base, **{k: v}) for k, values in choices.items() for v in values]
