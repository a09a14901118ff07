"""A writer for explicit vector code in TVM's tensor IR, from raw pointers to a plain C function.

No schedule is involved and no packed call: parameters are pointers from the start, so LLVM sees
`void kernel(ptr noalias x, ...)`. Accumulators are local buffers with constant indices, which LLVM
keeps in registers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tvm import tirx
from tvm.ir import PointerType, PrimType

Value = Any
Index = Any


def lanes_type(dtype: str, lanes: int) -> str:
    """The TIR name of a vector type; one lane is the scalar."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


_STORED = {"bfloat16": "uint16"}


def stored_type(dtype: str) -> str:
    """What an element type is in memory: the bits of one that the code generator does not know are an integer."""
    return _STORED.get(dtype, dtype)


def integer(value: int) -> Value:
    """An s32 literal."""
    return tirx.IntImm("int32", value)


def literal(value: float, dtype: str, lanes: int = 1) -> Value:
    """A literal, broadcast to all lanes."""
    scalar = (
        tirx.FloatImm(dtype, float(value))
        if dtype.startswith("float")
        else tirx.IntImm(dtype, int(value))
    )
    return scalar if lanes == 1 else tirx.Broadcast(scalar, integer(lanes))


def splat(value: Value, lanes: int) -> Value:
    """A scalar in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, integer(lanes))


def cast(value: Value, dtype: str, lanes: int) -> Value:
    """A conversion of every lane."""
    return tirx.Cast(lanes_type(dtype, lanes), value)


def reinterpret(value: Value, dtype: str, lanes: int) -> Value:
    """The same bits as another vector type."""
    return tirx.reinterpret(lanes_type(dtype, lanes), value)


def intrinsic(name: str, dtype: str, lanes: int, *arguments: Value) -> Value:
    """A pure LLVM intrinsic."""
    return tirx.call_llvm_pure_intrin(lanes_type(dtype, lanes), name, *arguments)


def _position(index: Index, lanes: int) -> list[Value]:
    base = integer(index) if isinstance(index, int) else index
    return [base if lanes == 1 else tirx.Ramp(base, integer(1), integer(lanes))]


class Writer:
    """Collects the statements of one kernel."""

    def __init__(self, name: str, *, may_alias: bool = False) -> None:
        self._name = name
        self._may_alias = may_alias
        self._parameters: list[Value] = []
        self._declarations: list[Value] = []
        self._blocks: list[list[Value]] = [[]]
        self._held = 0

    def pointer(self, name: str, dtype: str, extent: int) -> Value:
        """A pointer parameter to `extent` elements, as a flat buffer."""
        dtype = stored_type(dtype)
        variable = tirx.Var(name, PointerType(PrimType(dtype)))
        buffer = tirx.decl_buffer((max(extent, 1),), dtype, f"{name}_buffer")
        self._parameters.append(variable)
        self._declarations.append(tirx.DeclBuffer(buffer, data=variable))
        return buffer

    def scalar(self, name: str) -> Value:
        """An int32 parameter."""
        variable = tirx.Var(name, "int32")
        self._parameters.append(variable)
        return variable

    def local(self, name: str, dtype: str, extent: int) -> Value:
        """A small buffer on the stack; with constant indices it lives in registers."""
        buffer = tirx.decl_buffer((extent,), dtype, name, scope="local")
        self._declarations.append(tirx.AllocBuffer(buffer))
        return buffer

    @contextmanager
    def loop(
        self, name: str, extent: int | Value, begin: int | Value = 0, *, unroll: bool = False
    ) -> Iterator[Value]:
        """A loop over [begin, begin + extent); a single iteration leaves no loop behind."""
        if isinstance(extent, int) and extent == 1:
            yield integer(begin) if isinstance(begin, int) else begin
            return
        variable = tirx.Var(name, "int32")
        self._blocks.append([])
        yield variable
        body = self._blocks.pop()
        kind = tirx.ForKind.UNROLLED if unroll else tirx.ForKind.SERIAL
        first = integer(begin) if isinstance(begin, int) else begin
        count = integer(extent) if isinstance(extent, int) else extent
        if body:
            self._emit(tirx.For(variable, first, count, kind, _sequence(body)))

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Statements that run only where a condition holds."""
        self._blocks.append([])
        yield
        body = self._blocks.pop()
        if body:
            self._emit(tirx.IfThenElse(condition, _sequence(body), None))

    def let(self, name: str, value: Value) -> Value:
        """A value computed once, here."""
        variable = tirx.Var(name, value.dtype if hasattr(value, "dtype") else value.ty)
        self._emit(tirx.Bind(variable, value))
        return variable

    def hold(self, value: Value) -> Value:
        """A value that is read more than once.

        It goes through a local buffer, which LLVM makes a register of: a name bound to it would be put back in
        place for every reader, and IR be walked as a tree of two to the depth (docs/tvm.md).
        """
        dtype, _, lanes = str(value.dtype if hasattr(value, "dtype") else value.ty).partition("x")
        self._held += 1
        buffer = self.local(f"held{self._held}", dtype, int(lanes or 1))
        self.store(buffer, 0, value, int(lanes or 1))
        return self.load(buffer, 0, int(lanes or 1))

    def across(self, value: Value, lanes: int, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes of a vector, a power of two of them, combined into a scalar, half by half."""
        while lanes > 1:
            lanes //= 2
            whole = self.hold(value)
            halves = (list(range(lanes)), list(range(lanes, 2 * lanes)))
            low, high = (tirx.Shuffle([whole], half) for half in halves)
            value = combine(low, high)
        return value

    def load(self, buffer: Value, index: Index, lanes: int = 1) -> Value:
        """Consecutive elements as a vector."""
        return tirx.BufferLoad(buffer, _position(index, lanes))

    def store(self, buffer: Value, index: Index, value: Value, lanes: int = 1) -> None:
        """Write a vector to consecutive elements."""
        self._emit(tirx.BufferStore(buffer, value, _position(index, lanes)))

    def finish(self) -> Value:
        """The function."""
        body = _sequence(self._declarations + self._blocks[0])
        return tirx.PrimFunc(self._parameters, body).with_attrs(
            {
                "global_symbol": self._name,
                "calling_conv": 0,
                "tirx.noalias": not self._may_alias,
            }
        )

    def _emit(self, statement: Value) -> None:
        self._blocks[-1].append(statement)


def _sequence(statements: list[Value]) -> Value:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)
