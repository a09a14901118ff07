"""What adds a node of each operator to a growing graph."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.fuzz.growth import Grower, Growth, Skip, Value, broadcast

UNARY = """
    Relu Sigmoid Tanh Neg Abs Erf Softplus LeakyRelu Elu HardSigmoid HardSwish Selu Softsign Sin Cos
    Floor Ceil Round Sign Identity
"""
ANY = ("float32", "int32", "int64", "uint8", "bool")
NUMBERS = ("float32", "int32", "int64")

TABLE: list[tuple[str, Grower]] = []


def grows(*names: str, weight: int = 1) -> Callable[[Grower], Grower]:
    """Enters a function in the table under these operators; more weight, more often."""

    def enter(grower: Grower) -> Grower:
        TABLE.extend((name, grower) for name in names for _ in range(weight))
        return grower

    return enter


@grows(*UNARY.split())
def unary(g: Growth, name: str) -> None:
    x = g.pick("float32")
    g.add(name, [x], x.shape)


@grows("Sqrt", "Log", "Exp", "Reciprocal")
def positive(g: Growth, name: str) -> None:
    """Of what is safe for it."""
    x = g.pick("float32")
    if name == "Exp":
        g.add(name, [g.add("Tanh", [x], x.shape)], x.shape)
        return
    away = g.add("Add", [g.add("Abs", [x], x.shape), g.fixed(np.float32([0.5]))], x.shape or (1,))
    g.add(name, [away], away.shape)


@grows("Add", "Sub", "Mul", "Max", "Min", weight=2)
def binary(g: Growth, name: str) -> None:
    x = g.pick(*NUMBERS)
    y = g.beside(x)
    pair = [x, y] if g.source.random() < 0.7 else [y, x]
    g.add(name, pair, broadcast(x.shape, y.shape) or ())


@grows("Div", "PRelu", "Pow")
def by_constant(g: Growth, name: str) -> None:
    x = g.pick("float32")
    if name == "Pow":
        g.add(name, [x, g.fixed(np.float32(g.source.choice((2, 3))))], x.shape)
        return
    keep = g.source.randint(0, len(x.shape))
    slope = g.constant("float32", x.shape[len(x.shape) - keep :])
    if name == "Div":
        size = g.add(
            "Add", [g.add("Abs", [slope], slope.shape), g.fixed(np.float32(0.5))], slope.shape
        )
        slope = size
    g.add(name, [x, slope], x.shape)


@grows("Equal", "Greater", "Less", "LessOrEqual")
def comparison(g: Growth, name: str) -> None:
    x = g.pick(*NUMBERS)
    y = g.beside(x)
    g.add(name, [x, y], broadcast(x.shape, y.shape) or (), "bool")


@grows("And", "Or", "Xor", "Not")
def logic(g: Growth, name: str) -> None:
    x = g.pick("bool")
    if name == "Not":
        g.add(name, [x], x.shape)
        return
    y = g.beside(x)
    g.add(name, [x, y], broadcast(x.shape, y.shape) or ())


@grows("Where")
def where(g: Growth, name: str) -> None:
    x = g.pick(*NUMBERS)
    y = g.beside(x)
    shape = broadcast(x.shape, y.shape) or ()
    condition = g.beside(Value("", "bool", shape))
    made = broadcast(condition.shape, shape)
    g.add(name, [condition, x, y], made or (), x.dtype)


@grows("Cast", weight=2)
def cast(g: Growth, name: str) -> None:
    from tests.fuzz.growth import ELEMENT

    x = g.pick(*ANY)
    to = g.source.choice(("float32", "int32", "int64", "bool"))
    if x.dtype == "float32" and to != "bool":
        to = "int32"
    g.add(name, [x], x.shape, to, to=ELEMENT[to])


@grows("Clip")
def clip(g: Growth, name: str) -> None:
    x = g.pick("float32")
    low, high = g.fixed(np.float32(-0.75)), g.fixed(np.float32(1.5))
    g.add(name, [x, low if g.source.random() < 0.8 else None, high], x.shape)


@grows("Conv", weight=7)
def convolution(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=g.source.choice((4, 4, 4, 3)))
    channels, spatial = x.shape[1], x.shape[2:]
    kernel = [g.source.choice((1, 1, 2, 3, 3, 5)) for _ in spatial]
    strides = [g.source.choice((1, 1, 1, 2, 3)) for _ in spatial]
    dilations = [g.source.choice((1, 1, 1, 2)) for _ in spatial]
    pads = [g.source.randint(0, k - 1) for k in (*kernel, *kernel)]
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    group = g.source.choice((1, channels, g.source.choice(divisors)))
    filters = (
        group * g.source.choice((1, 1, 2, 3, 5))
        if group > 1
        else g.source.choice((1, 2, 5, 8, 16, 19))
    )
    ends = [
        (d + pads[i] + pads[i + len(spatial)] - dilations[i] * (kernel[i] - 1) - 1) // strides[i]
        + 1
        for i, d in enumerate(spatial)
    ]
    if min(ends) < 1:
        raise Skip
    w = g.constant("float32", (filters, channels // group, *kernel), 0.5)
    inputs = [x, w] + ([g.constant("float32", (filters,))] if g.source.random() < 0.6 else [])
    options = {"strides": strides, "dilations": dilations, "pads": pads, "group": group}
    made = g.add(name, inputs, (x.shape[0], filters, *ends), **options)
    if g.source.random() < 0.4:
        g.add(g.source.choice(("Relu", "Sigmoid", "HardSwish", "Tanh")), [made], made.shape)


@grows("ConvTranspose")
def transposed_convolution(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=4)
    kernel, strides = (g.source.randint(1, 3), g.source.randint(1, 3)), (1, g.source.randint(1, 2))
    filters = g.source.choice((1, 3, 8))
    w = g.constant("float32", (x.shape[1], filters, *kernel), 0.5)
    ends = [(d - 1) * s + k for d, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    g.add(name, [x, w], (x.shape[0], filters, *ends), strides=strides)


@grows("MaxPool", "AveragePool", weight=2)
def pooling(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=4)
    kernel = [g.source.randint(1, 3) for _ in range(2)]
    strides = [g.source.randint(1, 3) for _ in range(2)]
    pads = [g.source.randint(0, k - 1) for k in (*kernel, *kernel)]
    ends = [
        (d + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, d in enumerate(x.shape[2:])
    ]
    if min(ends) < 1:
        raise Skip
    options = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    if name == "AveragePool":
        options["count_include_pad"] = g.source.randint(0, 1)
    g.add(name, [x], (*x.shape[:2], *ends), **options)


@grows("GlobalAveragePool", "GlobalMaxPool")
def global_pooling(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=4)
    g.add(name, [x], (*x.shape[:2], 1, 1))


@grows("MatMul", weight=4)
def product(g: Growth, name: str) -> None:
    x = g.pick("float32")
    if len(x.shape) < 2:
        raise Skip
    depth = x.shape[-1]
    others = [
        v for v in g.values if v.dtype == "float32" and len(v.shape) > 1 and v.shape[-2] == depth
    ]
    y = g.source.choice(others) if others and g.source.random() < 0.4 else None
    if y is None:
        y = g.constant("float32", (depth, g.source.choice((1, 2, 5, 8, 16, 17))), 0.5)
    batch = broadcast(x.shape[:-2], y.shape[:-2])
    if batch is None:
        raise Skip
    g.add(name, [x, y], (*batch, x.shape[-2], y.shape[-1]))


@grows("Gemm", weight=2)
def gemm(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=2)
    flip, turn = g.source.randint(0, 1), g.source.randint(0, 1)
    rows, depth = x.shape[::-1] if flip else x.shape
    columns = g.source.choice((1, 3, 8, 17))
    w = g.constant("float32", (columns, depth) if turn else (depth, columns), 0.5)
    inputs = [x, w]
    if g.source.random() < 0.7:
        shape = g.source.choice(((columns,), (1,), (rows, 1), (rows, columns)))
        inputs.append(g.constant("float32", shape))
    alpha, beta = g.source.choice((1.0, 0.5)), g.source.choice((1.0, -2.0))
    options = {"transA": flip, "transB": turn, "alpha": alpha, "beta": beta}
    g.add(name, inputs, (rows, columns), **options)


@grows(
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"
)
def reduction(g: Growth, name: str) -> None:
    whole = name in {"ReduceSum", "ReduceMax", "ReduceMin"}
    x = g.pick(*(NUMBERS if whole else ("float32",)))
    rank = len(x.shape)
    axes = sorted(g.source.sample(range(rank), g.source.randint(1, rank))) if rank else []
    if not axes:
        raise Skip
    keep = g.source.randint(0, 1)
    shape = [1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes]
    axes = [g.signed(a, x) for a in axes]
    if name == "ReduceSum" or g.opset >= 18:
        g.add(name, [x, g.fixed(np.int64(axes))], shape, keepdims=keep)
    else:
        g.add(name, [x], shape, axes=axes, keepdims=keep)


@grows("ArgMax", "ArgMin")
def arg(g: Growth, name: str) -> None:
    x = g.pick("float32")
    axis, keep = g.axis(x), g.source.randint(0, 1)
    shape = [1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    g.add(name, [x], shape, "int64", axis=g.signed(axis, x), keepdims=keep)


@grows("Softmax", "LogSoftmax", "LayerNormalization")
def rows(g: Growth, name: str) -> None:
    x = g.pick("float32")
    axis = g.axis(x)
    if name != "LayerNormalization":
        g.add(name, [x], x.shape, axis=g.signed(axis, x))
    elif g.opset >= 17 and math.prod(x.shape[axis:]) > 1:
        scale = g.constant("float32", x.shape[axis:])
        g.add(name, [x, scale], x.shape, axis=g.signed(axis, x))


@grows("BatchNormalization", "InstanceNormalization")
def channels(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=4)
    c = x.shape[1]
    scale, bias = g.constant("float32", (c,)), g.constant("float32", (c,))
    if name == "InstanceNormalization":
        if math.prod(x.shape[2:]) == 1:
            raise Skip
        g.add(name, [x, scale, bias], x.shape)
        return
    variance = g.fixed(np.abs(np.float32([0.5 + i % 5 for i in range(c)])))
    g.add(name, [x, scale, bias, g.constant("float32", (c,)), variance], x.shape)


@grows("Transpose", weight=3)
def transpose(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    g.axis(x)  # a scalar has none
    order = list(range(len(x.shape)))
    g.source.shuffle(order)
    g.add(name, [x], [x.shape[i] for i in order], perm=order)


@grows("Reshape", weight=3)
def reshape(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    total, shape = math.prod(x.shape), []
    for _ in range(g.source.randint(0, 3)):
        shape.append(g.source.choice([d for d in range(1, total + 1) if total % d == 0]))
        total //= shape[-1]
    shape.append(total)
    said = list(shape)
    if g.source.random() < 0.4:
        said[g.source.randrange(len(said))] = -1
    g.add(name, [x, g.fixed(np.int64(said))], shape)


@grows("Flatten", "Squeeze", "Unsqueeze")
def flat(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    if name == "Flatten":
        axis = g.source.randint(0, len(x.shape))
        shape = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
        g.add(name, [x], shape, axis=axis)
    elif name == "Squeeze":
        ones = [i for i, d in enumerate(x.shape) if d == 1]
        if not ones:
            raise Skip
        axis = g.source.choice(ones)
        shape = [d for i, d in enumerate(x.shape) if i != axis]
        g.add(name, [x, g.fixed(np.int64([g.signed(axis, x)]))], shape)
    else:
        axis = g.source.randint(0, len(x.shape))
        g.add(name, [x, g.fixed(np.int64([axis]))], (*x.shape[:axis], 1, *x.shape[axis:]))


@grows("Slice", weight=3)
def cut(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    axis = g.axis(x)
    d = x.shape[axis]
    step = g.source.choice((1, 1, 1, 2, 3, -1, -2))
    taken = range(d)[g.source.randint(0, d - 1) :: step]
    taken = taken[: g.source.randint(1, len(taken))]
    end = taken[-1] + step
    if end < 0:
        end = -d - 1
    parts = ([taken[0]], [end], [g.signed(axis, x)], [step])
    shape = [len(taken) if i == axis else n for i, n in enumerate(x.shape)]
    g.add(name, [x, *(g.fixed(np.int64(p)) for p in parts)], shape)


@grows("Concat", weight=3)
def concat(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    axis = g.axis(x)

    def fits(v: Value) -> bool:
        same = [a == b for i, (a, b) in enumerate(zip(v.shape, x.shape, strict=False)) if i != axis]
        return v.dtype == x.dtype and len(v.shape) == len(x.shape) and all(same)

    others = [v for v in g.values if fits(v)]
    parts = [x, *(g.source.choice(others) for _ in range(g.source.randint(1, 2)))]
    if g.source.random() < 0.2:
        parts.append(g.constant(x.dtype, x.shape))
    shape = [sum(p.shape[i] for p in parts) if i == axis else d for i, d in enumerate(x.shape)]
    g.add(name, parts, shape, axis=g.signed(axis, x))


@grows("Split")
def split(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    axis = g.axis(x)
    if x.shape[axis] < 2:
        raise Skip
    first = g.source.randint(1, x.shape[axis] - 1)
    sizes = (first, x.shape[axis] - first)
    shapes = [[n if i == axis else d for i, d in enumerate(x.shape)] for n in sizes]
    made = g.add(name, [x, g.fixed(np.int64(sizes))], shapes[0], axis=axis)
    second = Value(f"{made.name}_b", x.dtype, tuple(shapes[1]))
    g.nodes[-1].output.append(second.name)
    g.values.append(second)


@grows("Pad", weight=2)
def pad(g: Growth, name: str) -> None:
    x = g.pick("float32", "int32")
    mode = g.source.choice(("constant", "constant", "edge", "reflect"))
    most = [min(2, d - 1) if mode == "reflect" else 2 for d in x.shape]
    pads = [g.source.randint(0, m) for m in (*most, *most)]
    shape = [d + pads[i] + pads[i + len(x.shape)] for i, d in enumerate(x.shape)]
    inputs = [x, g.fixed(np.int64(pads))]
    if mode == "constant" and g.source.random() < 0.5:
        inputs.append(g.fixed(np.asarray(g.source.choice((0, 1, -3)), x.dtype)))
    g.add(name, inputs, shape, mode=mode)


@grows("Expand", "Tile")
def repeat(g: Growth, name: str) -> None:
    x = g.pick(*ANY)
    if name == "Tile":
        times = [g.source.choice((1, 1, 2, 3)) for _ in x.shape]
        shape: Sequence[int] = [d * t for d, t in zip(x.shape, times, strict=True)]
        g.add(name, [x, g.fixed(np.int64(times))], shape)
        return
    shape = [g.source.randint(2, 3) if d == 1 else d for d in x.shape]
    if g.source.random() < 0.3:
        shape = [2, *shape]
    g.add(name, [x, g.fixed(np.int64(shape))], shape)


@grows("Gather", weight=2)
def gather(g: Growth, name: str) -> None:
    x = g.pick("float32", "int32", "int64", "uint8")
    axis = g.axis(x)
    d = x.shape[axis]
    chosen = [g.source.randint(-d, d - 1) for _ in range(g.source.randint(1, 4))]
    index = g.fixed(np.int64(chosen) if g.source.random() < 0.8 else np.int64(chosen[0]))
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    g.add(name, [x, index], shape, axis=axis)


@grows("DepthToSpace", "SpaceToDepth")
def blocks(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=4)
    n, c, h, w = x.shape
    if name == "DepthToSpace" and c % 4 == 0:
        mode = g.source.choice(("DCR", "CRD"))
        g.add(name, [x], (n, c // 4, h * 2, w * 2), blocksize=2, mode=mode)
    elif name == "SpaceToDepth" and h % 2 == 0 and w % 2 == 0:
        g.add(name, [x], (n, c * 4, h // 2, w // 2), blocksize=2)
    else:
        raise Skip


@grows("Resize")
def resize(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=4)
    scales = np.float32([1, 1, g.source.choice((1, 2)), 2])
    shape = [int(d * s) for d, s in zip(x.shape, scales, strict=True)]
    mode = g.source.choice(("nearest", "linear"))
    options = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    if mode == "nearest":
        options["nearest_mode"] = "floor"
    g.add(name, [x, None, g.fixed(scales)], shape, **options)


@grows("QuantizeLinear", weight=3)
def quantised(g: Growth, name: str) -> None:
    """Through 256 levels and back."""
    x = g.pick("float32")
    scale = g.fixed(np.float32(g.source.choice((0.02, 0.05, 0.125))))
    zero = g.fixed(np.uint8(g.source.choice((0, 128, 131))))
    levels = g.add(name, [x, scale, zero], x.shape, "uint8")
    g.add("DequantizeLinear", [levels, scale, zero], x.shape, "float32")


@grows("Conv", weight=2)
def quantised_convolution(g: Growth, name: str) -> None:
    """A whole integer layer."""
    x = g.pick("float32", rank=4)
    scale, zero = g.fixed(np.float32(0.03)), g.fixed(np.uint8(g.source.choice((0, 120))))
    levels = g.add("QuantizeLinear", [x, scale, zero], x.shape, "uint8")
    real = g.add("DequantizeLinear", [levels, scale, zero], x.shape, "float32")
    filters, size = g.source.choice((2, 5, 8, 17)), g.source.choice((1, 3))
    if min(x.shape[2:]) < size:
        raise Skip
    draws = np.random.default_rng(g.source.getrandbits(32))
    integers = draws.integers(-64, 65, (filters, x.shape[1], size, size)).astype(np.int8)
    scales = g.fixed(np.round(draws.uniform(0.004, 0.02, filters), 4).astype(np.float32))
    weights = g.fixed(integers)
    zeros = g.fixed(np.zeros(filters, np.int8))
    w = g.add("DequantizeLinear", [weights, scales, zeros], integers.shape, "float32", axis=0)
    ends = [d - size + 1 for d in x.shape[2:]]
    made = g.add(name, [real, w], (x.shape[0], filters, *ends))
    after, middle = g.fixed(np.float32(0.07)), g.fixed(np.uint8(110))
    levels = g.add("QuantizeLinear", [made, after, middle], made.shape, "uint8")
    g.add("DequantizeLinear", [levels, after, middle], made.shape, "float32")


@grows("LSTM", "GRU", "RNN")
def recurrent(g: Growth, name: str) -> None:
    x = g.pick("float32", rank=3)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[name]
    ways = g.source.choice(("forward", "reverse", "bidirectional"))
    n, hidden = 1 + (ways == "bidirectional"), g.source.choice((1, 3, 8))
    w = g.constant("float32", (n, gates * hidden, x.shape[2]), 0.5)
    r = g.constant("float32", (n, gates * hidden, hidden), 0.5)
    inputs = [x, w, r]
    if g.source.random() < 0.5:
        inputs.append(g.constant("float32", (n, 2 * gates * hidden), 0.5))
    g.add(name, inputs, (x.shape[0], n, x.shape[1], hidden), hidden_size=hidden, direction=ways)


@grows("CumSum", "Trilu", "GatherElements", "Einsum")
def various(g: Growth, name: str) -> None:
    x = g.pick("float32")
    axis = g.axis(x)
    if name == "CumSum":
        options = {"exclusive": g.source.randint(0, 1), "reverse": g.source.randint(0, 1)}
        g.add(name, [x, g.fixed(np.int64(axis))], x.shape, **options)
    elif name == "GatherElements":
        draws = np.random.default_rng(g.source.getrandbits(32))
        d = x.shape[axis]
        g.add(name, [x, g.fixed(draws.integers(-d, d, x.shape))], x.shape, axis=axis)
    elif len(x.shape) < 2:
        raise Skip
    elif name == "Trilu":
        g.add(name, [x, g.fixed(np.int64(g.source.randint(-2, 2)))], x.shape, upper=axis % 2)
    elif len(x.shape) == 2:
        w = g.constant("float32", (5, x.shape[1]), 0.5)
        g.add(name, [x, w], (x.shape[0], 5), equation="ij,kj->ik")
    else:
        raise Skip


@grows("TopK")
def largest(g: Growth, name: str) -> None:
    x = g.pick("float32")
    axis = g.axis(x)
    k = g.source.randint(1, x.shape[axis])
    shape = [k if i == axis else d for i, d in enumerate(x.shape)]
    g.add(name, [x, g.fixed(np.int64([k]))], shape, axis=axis, largest=g.source.randint(0, 1))
    places = Value(f"{g.values[-1].name}_i", "int64", tuple(shape))
    g.nodes[-1].output.append(places.name)
    if g.source.random() < 0.5:
        g.values.append(places)
