"""A board: a processor as one can buy it, with the memory that stands beside it."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from budgetc_specs.errors import Refusal, quoted
from budgetc_specs.fields import Bytes, Matching
from budgetc_specs.files import existing_file
from budgetc_specs.section import Section

Kind = Annotated[
    str,
    Matching(r"[a-z0-9][a-z0-9_-]{0,63}", "a target kind", "`budgetc targets` lists the kinds."),
]
# No leading dash: the name ends up among the arguments of other programs.
Cpu = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}",
        "a CPU",
        'name one, such as "cortex-a72" or "x86-64-v3".',
    ),
]


# No leading dash and no space: the address ends up among the arguments of other programs.
RunnerAddress = Annotated[
    str,
    Matching(
        r"[a-z][a-z0-9+-]{0,31}://[A-Za-z0-9\[][\x21-\x7e]{0,253}",
        "the address of a device",
        'write how it is reached and where, such as "ssh://pi@raspberrypi.local".',
    ),
]
_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
_FILE = re.compile(r".*\.(toml|yaml|yml|json)", re.IGNORECASE)


def _read_board(value: Any, info: ValidationInfo) -> str | Path:
    if isinstance(value, Path) or (isinstance(value, str) and _FILE.fullmatch(value)):
        return existing_file(value, info)
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    hint = "name one of `budgetc targets`, or a .toml, .yaml or .json file that describes it."
    raise Refusal(f"{quoted(value)} is not a board", hint)


BoardName = Annotated[
    str | Path,
    PlainValidator(_read_board),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""The name of an installed board, or the file of another one, relative to the spec's folder."""


class Board(Section):
    """What a board adds to the capability sheet of its CPU; one file a board."""

    summary: str = Field(min_length=1, description="What it is, in a few words")
    kind: Kind = Field(description="The kind of hardware, one of `budgetc targets`")
    cpu: Cpu = Field(description="The CPU, one of its kind's")
    cores: int = Field(
        default=1,
        strict=True,
        ge=1,
        le=1024,
        description="Cores that one inference can be spread over",
    )
    flash: Bytes | None = Field(
        default=None,
        ge=1,
        description='Flash for code and weights, such as "1 MiB": the size budget of a spec that sets no '
        "smaller one; absent where programs are files",
    )
    ram: Bytes | None = Field(
        default=None,
        ge=1,
        description='RAM, such as "256 KiB": the memory budget of a spec that sets no smaller one',
    )
    l1: Bytes | None = Field(
        default=None, ge=1, description="Level 1 data cache of a core, where it is not the sheet's"
    )
    l2: Bytes | None = Field(
        default=None, ge=1, description="Level 2 cache of a core, where it is not the sheet's"
    )
    features: tuple[str, ...] = Field(
        default=(), description='LLVM attributes beyond those of the sheet, such as "+dotprod"'
    )
    source: str = Field(default="", description="Where the figures come from")
