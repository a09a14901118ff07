"""A board or a sheet as the TOML that it is read from, with what each field means."""

from collections.abc import Mapping

from budgetc_specs.section import Section


def toml_text(section: Section) -> str:
    """The fields that are not at their defaults, each below its description; sections of it at the end."""
    lines, tables = [], []
    for name, value in section.model_dump(mode="json", exclude_defaults=True).items():
        about = f"# {type(section).model_fields[name].description}"
        if isinstance(value, Mapping):
            written = [f"{key} = {_value(each)}" for key, each in value.items()]
            tables += ["", about, f"[{name}]", *written]
        else:
            lines += [about, f"{name} = {_value(value)}"]
    return "\n".join([*lines, *tables]) + "\n"


def _value(value: object) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)
