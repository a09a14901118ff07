"""Operators without a kernel of ours, as plain C that emx-onnx-cgen generates.

The C is scalar and not tuned: it serves nodes in which no model spends its time. One node becomes
one function over raw pointers, as every other kernel is.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from budgetc.lower.bounds import c_in_bounds
from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.refusal import no_code, reason_of

if TYPE_CHECKING:
    from emx_onnx_cgen.compiler import Compiler

GENERATED_FILE = "generated.c"
"""Where the C of a library lies beside its object file."""

LARGEST_LITERAL = 256
"""Elements of a constant that is written into the C text; larger ones are passed as weights."""

_BFLOAT16_ROUNDING = """
#include <stdint.h>
__attribute__((visibility("hidden"))) __bf16 __truncsfbf2(float value) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, value);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const uint32_t chosen = value == value ? rounded : bits | 0x400000;
    return __builtin_bit_cast(__bf16, (uint16_t)(chosen >> 16));
}
__attribute__((visibility("hidden"))) __bf16 __truncdfbf2(double value) {
    const float near = (float)value;
    uint32_t bits = __builtin_bit_cast(uint32_t, near);
    if (near != value && value == value) {
        bits -= __builtin_fabs(near) > __builtin_fabs(value);
        bits |= 1;
    }
    return __truncsfbf2(__builtin_bit_cast(float, bits));
}
""".strip()
"""What compilers call to round to bfloat16 (to nearest, ties to even), and zig's runtime lacks.

A double is rounded to odd first, since rounding twice to nearest can end on the wrong side.
"""

LARGEST_STACK_BYTES = 16 * 1024
"""Working memory that a generated function may put on the stack, in bytes for each of its arrays."""

_NAME = "budgetc_generated_function"
_DATA = re.compile(r"^(?:extern )?(const (?:EMX_UNUSED )?\w+ \w+(?:\[\d+\])+)", re.MULTILINE)
_OWN_NAMES = re.compile(r"\b((?:node|weight)\d+_)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STATE = re.compile(r"^static (?!const\b|inline\b|EMX_UNUSED inline\b)[^(]*[;=]", re.MULTILINE)


@dataclass(frozen=True)
class GeneratedFunction:
    """A C function of one node.

    Attributes:
        text: a whole C file that defines it; `one_file` joins several.
        inputs: names of the node's tensors in the order of the parameters: values, or constants.
    """

    text: str
    inputs: tuple[str, ...]


def generate(op: Operation, graph: Graph, name: str) -> GeneratedFunction:
    """The C function `name` of an ONNX node; its parameters are `inputs`, then the node's outputs.

    Raises:
        ModelError: emx-onnx-cgen does not take the node, or its function would need the heap or
            memory that outlives a call.
    """
    model = graph.node_model(op)
    inputs = _with_weights_as_inputs(model, graph)
    try:
        text = _compiler().compile(model).replace(_NAME, name)
    except Exception as error:  # its own kinds, and whatever a model it does not know makes of it
        raise no_code(op, reason_of(error)) from error
    if "malloc(" in text:
        raise no_code(op, f"it needs more than {LARGEST_STACK_BYTES} bytes to work in")
    if _STATE.search(text):
        raise no_code(op, "it remembers something from one inference to the next")
    text = c_in_bounds(text, op, graph)
    own = _OWN_NAMES.sub(rf"{name}_\1", _DATA.sub(r"static \1", text))
    return GeneratedFunction(own, inputs)


def one_file(texts: Sequence[str]) -> str:
    """Several C files of `generate` as one: what they have in common stands there once."""
    parts = [part for text in texts for part in _parts(text)]
    if any("__bf16" in part for part in parts):
        parts.insert(0, _BFLOAT16_ROUNDING)
    return "\n\n".join(dict.fromkeys(parts)) + "\n" if parts else ""


def _parts(text: str) -> Iterator[str]:
    """The declarations and definitions of a C file, without comments."""
    lines: list[str] = []
    for block in re.split(r"\n{2,}", _COMMENT.sub("", text).strip()):
        lines += block.splitlines()
        whole = "\n".join(lines)
        conditions = len(re.findall(r"^#if", whole, re.MULTILINE))
        closed = conditions == len(re.findall(r"^#endif", whole, re.MULTILINE))
        if closed and whole.count("{") == whole.count("}"):
            yield whole
            lines = []
    assert not lines, "BUG: a generated file ends inside of a definition"


@functools.cache  # its templates take a second to load
def _compiler() -> "Compiler":
    from emx_onnx_cgen.compiler import Compiler, CompilerOptions

    return Compiler(
        CompilerOptions(
            model_name=_NAME,
            large_temp_threshold_bytes=LARGEST_STACK_BYTES,
            large_weight_threshold=0,
        )
    )


def _with_weights_as_inputs(model: onnx.ModelProto, graph: Graph) -> tuple[str, ...]:
    """Turn the large constants of a node's model into inputs, in place; the names of all inputs."""
    kept = []
    for tensor in model.graph.initializer:
        array: Array = graph.constants[tensor.name]
        if array.size <= LARGEST_LITERAL:
            kept.append(tensor)
        else:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, array.shape)
            model.graph.input.append(info)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return tuple(i.name for i in model.graph.input)
