"""The whole of lowering: an ONNX model and a target in, object file, weights and call list out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family, Growing, Point, Target
from budgetc_targets.task import Task

from budgetc.lower.assembler import Assembler, Shared
from budgetc.lower.attention import form_attention
from budgetc.lower.codes import make_codes_unsigned
from budgetc.lower.constants import fold_constants
from budgetc.lower.fixed_forms import form_fixed_point_operations
from budgetc.lower.fusion import fuse
from budgetc.lower.generated import GENERATED_FILE, one_file
from budgetc.lower.graph import Graph
from budgetc.lower.halves import multiply_halves
from budgetc.lower.hoisting import quantise_early
from budgetc.lower.importer import import_model
from budgetc.lower.in_place import write_in_place
from budgetc.lower.integer import form_integer_operations
from budgetc.lower.kernel_objects import KernelObjects
from budgetc.lower.lowered import Lowered
from budgetc.lower.opening import open_sizes
from budgetc.lower.permute import permute_flattened_weights
from budgetc.lower.points import Chooser, choose_points, default_point, lean_point, one_by_one
from budgetc.lower.recurrent import form_recurrent_operations
from budgetc.lower.selection import select
from budgetc.lower.sharing import share_kernels
from budgetc.lower.walk import walk


@dataclass(frozen=True)
class Code:
    """What lowering made: the call list of each entry point, the weights and the kernels' objects.

    `source` is the text of a C file with the kernels that have no object, or empty; `grown` says whether it would be
    smaller if it were compact; `points` is what was chosen for each task, in the order of the first calls.
    """

    entries: tuple[Lowered, ...]
    weights: bytes
    objects: KernelObjects
    source: str = ""
    grown: bool = False
    points: tuple[tuple[Task, Point], ...] = ()

    @property
    def lowered(self) -> Lowered:
        """The first entry point."""
        return self.entries[0]


def prepare(
    data: bytes,
    *,
    fixed_point: bool = False,
    halves: bool = False,
    kinds: Collection[str] = (),
) -> Graph:
    """The graph of a model with its operations chosen and fused: one operation per kernel.

    Args:
        data: the model.
        fixed_point: whether quantised arithmetic is that of cores without floats.
        halves: whether there are kernels that compute with bfloat16 numbers.
        kinds: of the kernels that there are; "attention" among them has it formed.

    Raises:
        ModelError: the model has what no library can have, such as control flow.
    """
    graph = form(data, fixed_point=fixed_point, halves=halves)
    select(graph, halves=halves)
    multiply_halves(graph)
    permute_flattened_weights(graph)
    graph.remove_dead()
    graph.skip_idle_views()
    fuse(graph)
    if "attention" in kinds:
        form_attention(graph)
    return graph


def prepare_for(data: bytes, capability: Capability, families: Sequence[Family]) -> Graph:
    """The same for a target's sheet and kernels."""
    return prepare(
        data,
        fixed_point=capability.fixed_point,
        halves=bool(capability.bfloat16_dot),
        kinds={family.kind for family in families},
    )


def form(data: bytes, *, fixed_point: bool = False, halves: bool = False) -> Graph:
    """The graph with its integer and recurrent operations formed, the rest as ONNX has it; see `prepare`."""
    graph = import_model(data)
    fold_constants(graph, keep=("DequantizeLinear",))
    form_recurrent_operations(graph)
    make_codes_unsigned(graph)
    quantise_early(graph, halves=halves)
    if fixed_point and not any(op.kind == "recurrent" for op in graph.operations):
        form_fixed_point_operations(graph)
    else:
        form_integer_operations(graph)
    fold_constants(graph)
    return graph


def lower(
    models: Sequence[bytes],
    target: Target,
    capability: Capability,
    choose: Chooser | None = None,
    *,
    compact: bool = False,
    kept: Path | None = None,
) -> Code:
    """Lower self-contained models with static shapes into one library, an entry point each. Imports tvm.

    Kernels that are equal, or equal but for sizes or numbers, are one. So are constants; entry points after the first
    take points that leave weights as they are stored already, where there are such points.

    Args:
        models: the same model for one shape or for several.
        target: whose kernels it becomes.
        capability: the target's sheet.
        choose: picks the points of the kernels; the default is the first of each, or of a compact library that of least
            code.
        compact: do without kernels that are faster by being larger.
        kept: folder with the kernels of earlier models; they are not written and compiled again.

    Raises:
        ModelError: an operator that neither our kernels nor TVM's importer take.
    """
    families = [f for f in target.families() if not (compact and _grows(f))]
    alone = one_by_one(lean_point(capability) if compact else default_point(capability))
    shared = Shared(KernelObjects(target, capability, kept), capability.alignment)
    graphs = [prepare_for(data, capability, families) for data in models]
    programs = [walk(graph, capability, families) for graph in graphs]
    for steps in programs:
        write_in_place(steps, capability)
    share_kernels(programs)
    points = choose_points(programs, choose or alone, capability)
    open_sizes(programs, capability, compact=compact)
    entries = [
        Assembler(graph, steps, capability, shared).assemble()
        for graph, steps in zip(graphs, programs, strict=True)
    ]
    # A vector load of the last constant may pass its end.
    shared.blob += bytes(capability.alignment if shared.blob else 0)
    entries = [replace(e, weight_bytes=len(shared.blob)) for e in entries]
    grows = any(s.family and _grows(s.family) for steps in programs for s in steps.steps)
    grown = shared.larger or grows
    source = one_file(shared.sources)
    return Code(tuple(entries), bytes(shared.blob), shared.objects, source, grown, tuple(points))


def _grows(family: Family) -> bool:
    return isinstance(family, Growing) and family.grows


def write(code: Code, folder: Path) -> list[Path]:
    """Write all of the code and the weights into a folder; see `write_code`."""
    (folder / "weights.bin").write_bytes(code.weights)
    return write_code(code, folder)


def write_code(code: Code, folder: Path) -> list[Path]:
    """Compile what is not yet compiled, and write objects and the generated C, if any, into a folder.

    Returns:
        The object files.
    """
    if code.source:
        (folder / GENERATED_FILE).write_text(code.source)
    return code.objects.write(folder)
