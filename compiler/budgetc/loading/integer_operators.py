"""Operators that compute on integers, written as DequantizeLinear, a float operator and QuantizeLinear.

    QLinearConv(x, w, b)      ->  Q(Conv(DQ(x), DQ(w), DQ(b)))           b in units of sx * sw
    QLinearMatMul, QGemm, QLinearAdd, QLinearMul, QLinearConcat, pools and activations: the same
    ConvInteger, MatMulInteger ->  Cast(Conv(DQ(x), DQ(w)))               with scales of 1
    DynamicQuantizeLinear(x)   ->  s = (max(x, 0) - min(x, 0)) / 255, z = Q(-min(x, 0) / s), Q(x, s, z)

The function is the same, up to float rounding where no integer kernel takes the operator. Lowering makes integer
operations of such neighbourhoods, so that there is one way to them. Operators of the domain com.microsoft are those
that onnxruntime's quantiser writes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from budgetc_specs.errors import ModelError, printable, quoted
from onnx import TensorProto, numpy_helper, version_converter

from budgetc.loading.draft import Draft, attributes_of, opset_of
from budgetc.loading.normalise import forget_domain
from budgetc.loading.tensors import node_label

MICROSOFT = "com.microsoft"
_AXIS_OPSET = 13
_WIDE_OPSET = 21  # QuantizeLinear and DequantizeLinear take 16 bits from here on

Array = npt.NDArray[Any]
_Names = Sequence[str]


def write_as_qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its operators on integers in QDQ form; the same model where there are none.

    Raises:
        ModelError: such an operator has a form that is not supported, or the model's operator set cannot be raised to
            one that has scales per channel.
    """
    if not needs_qdq(model):
        return model
    needed = _WIDE_OPSET if _has_wide(model) else _AXIS_OPSET
    if opset_of(model) < needed:
        model = raise_opset(model, needed)
    draft = Draft(model)
    rewriting = _Rewriting(draft, model)
    for node in model.graph.node:
        rewrite = _rewriter(node)
        if rewrite is None:
            draft.keep(node)
        else:
            rewrite(rewriting, node)
    draft.commit()
    _connect_casts(model.graph, rewriting.reals)
    if all(n.domain != MICROSOFT for n in model.graph.node):
        forget_domain(model, MICROSOFT)
    return model


def needs_qdq(model: onnx.ModelProto) -> bool:
    """Whether there is something for `write_as_qdq` to do."""
    return any(_rewriter(node) for node in model.graph.node)


def raise_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Return the model written for a newer operator set.

    Raises:
        ModelError: onnx cannot convert it.
    """
    try:
        # The converter knows operators of the standard domain; the others are handed through.
        converted: onnx.ModelProto = version_converter.convert_version(model, version)
    except Exception as error:  # onnx raises RuntimeError and classes of its C++ part
        words = printable(" ".join(str(error).split()))[:200]
        raise ModelError(
            f"the model is written for opset {opset_of(model)}, and onnx cannot convert it to "
            f"{version}: {words}",
            f"export it again for opset {version} or later.",
        ) from error
    for before, after in zip(model.graph.input, converted.graph.input, strict=False):
        if before.type != after.type:  # the converter takes the batch out of an old Scan
            raise ModelError(
                f"the model is written for opset {opset_of(model)}, and for {version} its input "
                f"{quoted(before.name)} would have another shape",
                f"export it again for opset {version} or later.",
            )
    converted.ir_version = max(converted.ir_version, model.ir_version, 7)
    return converted


class _Rewriting:
    """What the rewriters share: the draft, and what is known of the model's constants."""

    def __init__(self, draft: Draft, model: onnx.ModelProto) -> None:
        self.draft = draft
        self._constants = {t.name: t for t in model.graph.initializer}
        self._known: dict[str, Array] = {}
        self.reals: dict[str, str] = {}
        """The float value behind a result of 32-bit integers."""

    def array(self, name: str) -> Array | None:
        """The elements of a constant; None for what is computed."""
        if name in self._known:
            return self._known[name]
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def dequantised(self, node: onnx.NodeProto, names: _Names, *, axis: int | None = None) -> str:
        """DequantizeLinear of (value, scale, zero point)."""
        stem = f"{node.name}.{names[0]}.real"
        return self.draft.add("DequantizeLinear", names, stem, attributes={"axis": axis})

    def quantised(self, node: onnx.NodeProto, real: str, scale: str, zero: str) -> None:
        """QuantizeLinear that makes the node's result."""
        self.draft.add("QuantizeLinear", [real, scale, zero], node.name, output=node.output[0])

    def product(self, node: onnx.NodeProto, a: str, b: str) -> str:
        """The product of two scales."""
        first, second = self.array(a), self.array(b)
        if first is None or second is None:
            return self.draft.add("Mul", [a, b], f"{node.name}.scale")
        product = first * second
        return self.keep_array(product.reshape(()) if product.size == 1 else product, node)

    def keep_array(self, array: Array, node: onnx.NodeProto) -> str:
        """A constant that other rewriters may ask for."""
        name = self.draft.constant(array, f"{node.name}.scale")
        self._known[name] = array
        return name

    def number(self, value: float) -> str:
        """A float constant that other rewriters may ask for."""
        name = self.draft.scalar(value)
        self._known[name] = np.array(value, np.float32)
        return name

    def ones_like(self, node: onnx.NodeProto, zero: str) -> str:
        """Scales of 1, as many as there are zero points."""
        array = self.array(zero) if zero else None
        if array is None or array.ndim == 0:
            return self.draft.scalar(1.0)
        return self.draft.constant(np.ones(array.shape, np.float32), f"{node.name}.ones")

    def apply(
        self, node: onnx.NodeProto, op_type: str, inputs: _Names, leave: Sequence[str] = ()
    ) -> str:
        """The float operator with the node's attributes, but those that only the integer form has."""
        attributes = {k: v for k, v in attributes_of(node).items() if k not in leave}
        return self.draft.add(op_type, inputs, f"{node.name}.float", attributes=attributes)


def _input(node: onnx.NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _conv(at: _Rewriting, node: onnx.NodeProto) -> None:
    x, xs, xz, w, ws, wz, ys, yz = node.input[:8]
    inputs = [at.dequantised(node, (x, xs, xz)), at.dequantised(node, (w, ws, wz), axis=0)]
    if bias := _input(node, 8):
        inputs.append(at.dequantised(node, (bias, at.product(node, xs, ws)), axis=0))
    at.quantised(node, at.apply(node, "Conv", inputs), ys, yz)


def _matmul(at: _Rewriting, node: onnx.NodeProto) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero, ys, yz = node.input
    left = at.dequantised(node, (a, a_scale, a_zero), axis=-2)
    right = at.dequantised(node, (b, b_scale, b_zero), axis=-1)
    at.quantised(node, at.apply(node, "MatMul", [left, right]), ys, yz)


def _gemm(at: _Rewriting, node: onnx.NodeProto) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero = node.input[:6]
    bias, ys, yz = (_input(node, i) for i in (6, 7, 8))
    attributes = attributes_of(node)
    alpha = float(attributes.get("alpha", 1.0))
    if alpha != 1.0:
        b_scale = at.product(node, b_scale, at.number(alpha))
    along = 0 if attributes.get("transB", 0) else 1
    left = at.dequantised(node, (a, a_scale, a_zero))
    inputs = [left, at.dequantised(node, (b, b_scale, b_zero), axis=along)]
    if bias:
        scale = at.product(node, a_scale, b_scale)
        inputs.append(at.dequantised(node, (bias, scale), axis=-1))
    output = None if ys else node.output[0]
    real = at.draft.add(
        "Gemm",
        inputs,
        f"{node.name}.float",
        output=output,
        attributes={k: attributes.get(k) for k in ("transA", "transB")},
    )
    if ys:
        at.quantised(node, real, ys, yz)


def _binary(op_type: str) -> "_Rewriter":
    def rewrite(at: _Rewriting, node: onnx.NodeProto) -> None:
        inputs = [at.dequantised(node, node.input[i : i + 3]) for i in (0, 3)]
        at.quantised(node, at.apply(node, op_type, inputs), node.input[6], _input(node, 7))

    return rewrite


def _unary(op_type: str, leave: Sequence[str] = ()) -> "_Rewriter":
    def rewrite(at: _Rewriting, node: onnx.NodeProto) -> None:
        if attributes_of(node).get("channels_last", 0):
            raise ModelError(
                f"the {node_label(node)} has the attribute channels_last, which is not supported",
                "quantise the model without onnxruntime's NHWC transformation.",
            )
        real = at.dequantised(node, node.input[:3])
        made = at.apply(node, op_type, [real], leave=("channels_last", *leave))
        at.quantised(node, made, node.input[3], _input(node, 4))

    return rewrite


def _concat(at: _Rewriting, node: onnx.NodeProto) -> None:
    starts = range(2, len(node.input), 3)
    inputs = [at.dequantised(node, node.input[i : i + 3]) for i in starts]
    at.quantised(node, at.apply(node, "Concat", inputs), node.input[0], node.input[1])


def _where(at: _Rewriting, node: onnx.NodeProto) -> None:
    inputs = [node.input[0], *(at.dequantised(node, node.input[i : i + 3]) for i in (1, 4))]
    at.quantised(node, at.apply(node, "Where", inputs), node.input[7], _input(node, 8))


def _softmax(at: _Rewriting, node: onnx.NodeProto) -> None:
    given = attributes_of(node)
    # Before opset 13 the axes from `axis` on were one; the attribute says which meaning holds.
    if int(given.get("opset", at.draft.opset)) < 13 <= at.draft.opset:
        raise ModelError(
            f"the {node_label(node)} has the meaning that Softmax had before opset 13",
            "export the float model for opset 13 or later and quantise it again.",
        )
    _unary("Softmax", leave=("opset",))(at, node)


def _integer(op_type: str) -> "_Rewriter":
    """ConvInteger and MatMulInteger: reals that are whole numbers, and a Cast."""
    axes = (None, 0) if op_type == "Conv" else (-2, -1)

    def rewrite(at: _Rewriting, node: onnx.NodeProto) -> None:
        inputs = []
        for i, axis in enumerate(axes):
            zero = _input(node, 2 + i)
            names = (node.input[i], at.ones_like(node, zero), zero)
            inputs.append(at.dequantised(node, names, axis=axis))
        real = at.apply(node, op_type, inputs)
        at.reals[node.output[0]] = real
        at.draft.add(
            "Cast", [real], node.name, output=node.output[0], attributes={"to": TensorProto.INT32}
        )

    return rewrite


def _to_float(at: _Rewriting, node: onnx.NodeProto) -> None:
    """MatMulIntegerToFloat: the sum of products, scaled, with a bias."""
    a, b, a_scale, b_scale = node.input[:4]
    _scaled_product(at, node, (a, _input(node, 4)), (b, _input(node, 5)), (a_scale, b_scale), 6)


def _dynamic_matmul(at: _Rewriting, node: onnx.NodeProto) -> None:
    """DynamicQuantizeMatMul: the same with a left side that is quantised on the way."""
    a, b, b_scale = node.input[:3]
    code, scale, zero = (at.draft.fresh(f"{node.name}.{part}") for part in ("code", "s", "z"))
    _write_dynamic(at, node, a, (code, scale, zero))
    _scaled_product(at, node, (code, zero), (b, _input(node, 3)), (scale, b_scale), 4)


def _scaled_product(
    at: _Rewriting,
    node: onnx.NodeProto,
    left: tuple[str, str],
    right: tuple[str, str],
    scales: tuple[str, str],
    bias: int,
) -> None:
    inputs = []
    for (value, zero), axis in ((left, -2), (right, -1)):
        names = (value, at.ones_like(node, zero), zero)
        inputs.append(at.dequantised(node, names, axis=axis))
    total = at.draft.add("MatMul", inputs, f"{node.name}.float")
    scale = at.product(node, *scales)
    added = _input(node, bias)
    output = None if added else node.output[0]
    real = at.draft.add("Mul", [total, scale], f"{node.name}.scaled", output=output)
    if added:
        at.draft.add("Add", [real, added], f"{node.name}.biased", output=node.output[0])


def _dynamic(at: _Rewriting, node: onnx.NodeProto) -> None:
    outputs = [o or at.draft.fresh(f"{node.name}.unused") for o in node.output]
    _write_dynamic(at, node, node.input[0], (outputs[0], outputs[1], outputs[2]))


def _write_dynamic(
    at: _Rewriting, node: onnx.NodeProto, x: str, outputs: tuple[str, str, str]
) -> None:
    """DynamicQuantizeLinear as onnxruntime computes it; a range of nothing has the scale 1."""
    draft, stem = at.draft, node.name
    code, scale, zero = outputs
    nothing, one = draft.scalar(0.0), draft.scalar(1.0)

    def extreme(of: str) -> str:
        whole = draft.add(f"Reduce{of}", [x], f"{stem}.{of}", attributes={"keepdims": 0})
        return draft.add(of, [whole, nothing], f"{stem}.{of}_or_0")

    low, high = extreme("Min"), extreme("Max")
    span = draft.add("Sub", [high, low], f"{stem}.span")
    step = draft.add("Div", [span, draft.scalar(255.0)], f"{stem}.step")
    empty = draft.add("Sub", [one, draft.add("Sign", [span], f"{stem}.sign")], f"{stem}.empty")
    draft.add("Add", [step, empty], f"{stem}.scale", output=scale)
    below = draft.add("Sub", [nothing, draft.add("Div", [low, scale], f"{stem}.q")], f"{stem}.z")
    byte = draft.scalar(0, "uint8")
    draft.add("QuantizeLinear", [below, one, byte], f"{stem}.zero", output=zero)
    draft.add("QuantizeLinear", [x, scale, zero], f"{stem}.code", output=code)


def _standard(op_type: str) -> "_Rewriter":
    """Microsoft's QuantizeLinear and DequantizeLinear were ahead of the standard's in types."""

    def rewrite(at: _Rewriting, node: onnx.NodeProto) -> None:
        attributes = attributes_of(node)
        at.draft.add(op_type, node.input, node.name, output=node.output[0], attributes=attributes)

    return rewrite


_Rewriter = Callable[[_Rewriting, onnx.NodeProto], None]

_REWRITERS: Mapping[tuple[str, str], _Rewriter] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    ("", "ConvInteger"): _integer("Conv"),
    ("", "MatMulInteger"): _integer("MatMul"),
    ("", "DynamicQuantizeLinear"): _dynamic,
    (MICROSOFT, "QLinearConv"): _conv,
    (MICROSOFT, "QGemm"): _gemm,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (MICROSOFT, "QLinearAveragePool"): _unary("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearSoftmax"): _softmax,
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearWhere"): _where,
    (MICROSOFT, "MatMulIntegerToFloat"): _to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_matmul,
    (MICROSOFT, "QuantizeLinear"): _standard("QuantizeLinear"),
    (MICROSOFT, "DequantizeLinear"): _standard("DequantizeLinear"),
}


def _rewriter(node: onnx.NodeProto) -> _Rewriter | None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    return _REWRITERS.get((domain, node.op_type))


def _has_wide(model: onnx.ModelProto) -> bool:
    """Whether Microsoft's operators may have put 16-bit or 4-bit codes into an older operator set."""
    wide = {TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT4, TensorProto.INT4}
    types = {t.name: t.data_type for t in model.graph.initializer}
    return any(
        node.domain == MICROSOFT
        and node.op_type in {"QuantizeLinear", "DequantizeLinear"}
        and any(types.get(name) in wide for name in node.input)
        for node in model.graph.node
    )


def _connect_casts(graph: onnx.GraphProto, reals: Mapping[str, str]) -> None:
    """A Cast to float of a sum of integers is the real sum itself; sums that nobody else reads go."""
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in reals:
            attributes = attributes_of(node)
            if attributes["to"] == TensorProto.FLOAT:
                node.input[0] = reals[node.input[0]]
                node.op_type = "Identity"
                del node.attribute[:]
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(o.name for o in graph.output)
    unread = [n for n in graph.node if n.output[0] in reals and not uses[n.output[0]]]
    for node in unread:
        graph.node.remove(node)


def widen_small_weights(model: onnx.ModelProto) -> None:
    """Store constant codes of less than 8 bits as 8-bit ones, in place, where only DequantizeLinear reads them.

    The numbers are the same, and there are kernels for them.
    """
    kinds = {TensorProto.INT4: np.int8, TensorProto.UINT4: np.uint8}
    for name in ("INT2", "UINT2"):
        if name in TensorProto.DataType.keys():  # noqa: SIM118  an enumeration of protobuf's
            kinds[TensorProto.DataType.Value(name)] = np.int8 if name == "INT2" else np.uint8
    small = {t.name: t for t in model.graph.initializer if t.data_type in kinds}
    if not small:
        return
    readers: dict[str, list[onnx.NodeProto]] = {name: [] for name in small}
    for node in model.graph.node:
        for name in node.input:
            if name in readers:
                readers[name].append(node)
    for node in model.graph.node:
        mine = [n for n in node.input if n in small]
        alone = all(r.op_type == "DequantizeLinear" for n in mine for r in readers[n])
        if node.op_type == "DequantizeLinear" and node.input[0] in small and alone:
            for name in mine:
                tensor = small[name]
                if tensor.data_type in kinds:
                    array = numpy_helper.to_array(tensor).astype(kinds[tensor.data_type])
                    tensor.CopyFrom(numpy_helper.from_array(array, name))
