"""A capability sheet as a file: what one CPU of a kind can do, said in full or by what it has beyond another."""

from typing import Annotated, Any, Literal

from pydantic import Field

from budgetc_specs.board import Cpu
from budgetc_specs.capability import Arch, Bfloat16Dot, Capability, FloatUnit, Int8Dot, System
from budgetc_specs.fields import Bytes, Cache
from budgetc_specs.section import Section


def _about(field: str) -> Any:
    """A field that may be left out, with the words of the capability sheet."""
    return Field(default=None, description=Capability.model_fields[field].description)


Count = Annotated[int, Field(strict=True, ge=1, le=4096)]
Address = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]


class Machine(Section):
    """An emulated board with the core, for firmware: where its memory lies."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="qemu's name of the board")
    rom: Address = Field(description="Where code and constants lie, such as 0x10000000")
    rom_size: Bytes = Field(ge=1, description='How much of that there is, such as "4 MiB"')
    ram: Address = Field(description="Where data, buffers and the stack lie")
    ram_size: Bytes = Field(ge=1, description="How much of that there is")
    vectors: Address = Field(default=0, description="Where the core looks for its vector table")


class Sheet(Section):
    """One file a CPU, named after it, in the folder of its kind."""

    like: Cpu | None = Field(
        default=None,
        description="Another CPU of the kind; what is not said here is as it is there",
    )
    cpu: Cpu | None = _about("cpu")
    arch: Arch | None = _about("arch")
    features: tuple[str, ...] | None = _about("llvm_features")
    llvm_triple: str | None = _about("llvm_triple")
    llvm_abi: str | None = _about("llvm_abi")
    zig_target: str | None = _about("zig_target")
    zig_cpu: str | None = _about("zig_cpu")
    system: System | None = _about("system")
    float_unit: FloatUnit | None = _about("float_unit")
    flushes_denormals: bool | None = _about("flushes_denormals")
    vector_bytes: Count | None = _about("vector_bytes")
    vector_registers: Count | None = _about("vector_registers")
    int8_dot: Int8Dot | None = _about("int8_dot")
    bfloat16_dot: Bfloat16Dot | None = _about("bfloat16_dot")
    weight_bits: Literal[7, 8] | None = _about("weight_bits")
    l1: Cache | None = Field(
        default=None, description='level 1 data cache of a core, such as "32 KiB", or "none"'
    )
    l2: Cache | None = Field(default=None, description='level 2 cache of a core, or "none"')
    machine: Machine | None = Field(
        default=None, description="The board that firmware is run on here, where qemu has one"
    )

    @classmethod
    def of(cls, capability: Capability) -> "Sheet":
        """All that a capability sheet says of the CPU, as a file would."""
        names = {field: name for name, field in _FIELDS.items()}
        said = capability.model_dump(exclude={"target", "threads", "native"}, exclude_defaults=True)
        return cls(**{names.get(field, field): value for field, value in said.items()})

    def over(self, other: "Sheet") -> "Sheet":
        """What is said here, and what the other one says of the rest."""
        said = self.model_dump(exclude={"like", "machine"}, exclude_none=True)
        made = other.model_copy(update={"like": None, **said})
        return made.model_copy(update={"machine": self.machine}) if self.machine else made

    def fields(self) -> dict[str, Any]:
        """What is said, as fields of `Capability`."""
        said = self.model_dump(exclude={"like", "machine"}, exclude_none=True)
        return {_FIELDS.get(name, name): value for name, value in said.items()}


_FIELDS = {"features": "llvm_features", "l1": "l1_bytes", "l2": "l2_bytes"}
