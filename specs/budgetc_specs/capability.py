"""What a piece of hardware can do: the sheet that passes and kernels read, whatever the target."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Int8Dot = Literal[
    "vpdpbusd512",
    "vpdpbusd256",
    "maddubs256",
    "maddwd128",
    "sdot128",
    "usdot128",
    "widening128",
    "smlad32",
    "vmladava32",
    "vmull128",
    "wasmdot128",
    "vwmacc256",
    "mla32",
]
"""How u8 x s8 products are summed into s32 lanes; the number is the width of the accumulators in bits.

`maddubs256` saturates its 16-bit pair sums, so it is exact only where every weight lies in [-64, 64]. Most sum four
products into each lane; `vmladava32` sums sixteen into its one, and `vwmacc256` and `mla32` add one.
"""

Bfloat16Dot = Literal["vdpbf16ps512"]
"""How products of bfloat16 numbers are summed into f32 lanes, two into each; the number is as for `Int8Dot`."""

PRODUCTS_A_LANE = {"vmladava": 16, "mla": 1, "vwmacc": 1, "vdpbf16ps": 2}
"""How many products a dot product sums into one lane, by its kind, where these are not four."""

System = Literal["linux", "bare", "module"]
"""What a library is linked for: an operating system, a core without one, whose program is a firmware, or whatever runs
WebAssembly, of which a library is a module."""

FloatUnit = Literal["double", "single", "none"]
"""The widest real numbers that the hardware computes with."""

Arch = Literal["x86_64", "aarch64", "arm", "thumb", "riscv64", "wasm32"]
"""Instruction sets, as zig names them in a triple."""


class Capability(BaseModel):
    """The capability sheet of one target, complete: nothing about the machine is asked for elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = Field(description="name of the target kind this sheet belongs to")
    arch: Arch = Field(description="instruction set architecture")
    cpu: str = Field(description="LLVM name of the CPU or architecture level, such as x86-64-v3")
    llvm_features: tuple[str, ...] = Field(default=(), description="LLVM attributes beyond the CPU")
    llvm_triple: str = Field(description="LLVM target triple")
    llvm_abi: str = Field(
        default="",
        description="LLVM's name of the calling convention, where a triple leaves it open",
    )
    zig_target: str = Field(description="the triple that zig cc links for")
    zig_cpu: str = Field(
        default="",
        description="zig's name of the CPU that C is compiled for; empty for the least of the triple",
    )
    system: System = Field(default="linux", description="what libraries are linked for")
    float_unit: FloatUnit = Field(
        default="double", description="the widest real numbers that the hardware computes with"
    )
    flushes_denormals: bool = Field(
        default=False, description="whether vectors take numbers below the normal ones for zero"
    )
    vector_bytes: int = Field(description="width of one vector register in bytes")
    vector_registers: int = Field(description="number of vector registers")
    int8_dot: Int8Dot = Field(description="the integer dot product to build kernels from")
    bfloat16_dot: Bfloat16Dot | None = Field(
        default=None,
        description="the dot product of bfloat16 numbers to build kernels from, where there is one",
    )
    weight_bits: Literal[7, 8] = Field(
        description="widest signed weights for which the fastest integer dot product is exact"
    )
    threads: int = Field(default=1, ge=1, description="threads one inference may use")
    l1_bytes: int = Field(default=32 * 1024, description="level 1 data cache of a core in bytes")
    l2_bytes: int = Field(default=256 * 1024, description="level 2 cache of a core in bytes")
    native: bool = Field(description="whether this machine can run the target's code directly")

    @property
    def alone_target(self) -> str:
        """The triple of programs that need no library of a system, such as an emulator can run."""
        return self.zig_target.partition(".")[0].replace("gnu", "musl")

    @property
    def fixed_point(self) -> bool:
        """Whether quantised arithmetic is that of integers alone, as docs/fixed-point.md defines it."""
        return self.float_unit == "none"

    @property
    def alignment(self) -> int:
        """Bytes that tensors and constants are aligned to: a line of the cache, or what the widest load wants.

        It is also how far behind a tensor kernels may read.
        """
        return max(8, self.vector_bytes) if self.system == "bare" else 64

    @property
    def reduction_step(self) -> int:
        """Channels that an integer product sums at once, and reads even where fewer are left."""
        return PRODUCTS_A_LANE.get(self.int8_dot.rstrip("0123456789"), 4)

    @property
    def channel_block(self) -> int:
        """Number of 32-bit lanes in a vector: channel counts that are multiples of it have no tail."""
        return self.vector_bytes // 4
