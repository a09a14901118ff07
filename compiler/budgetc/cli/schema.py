"""`budgetc schema`: the JSON Schema of a spec, for editors."""

import json


def schema() -> int:
    """Print the JSON Schema of a spec, for editors (draft-07)."""
    from budgetc_specs.schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
