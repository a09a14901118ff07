"""`budgetc schema`: the JSON Schema of a spec, for editors, or of a result, for programs."""

import enum
import json
from typing import Annotated

import typer


class Document(enum.StrEnum):
    """What there are schemas of."""

    SPEC = "spec"
    RESULT = "result"


def schema(
    document: Annotated[
        Document, typer.Argument(help="Of a spec, or of what --json prints.")
    ] = Document.SPEC,
) -> int:
    """Print the JSON Schema of a spec or a result (draft-07)."""
    if document is Document.RESULT:
        from budgetc.ci.schema import result_schema

        found = result_schema()
    else:
        from budgetc_specs.schema import json_schema

        found = json_schema()
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0
