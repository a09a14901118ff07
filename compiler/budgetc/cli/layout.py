"""`budgetc layout`: where a compilation would put what, for build systems that must know before it runs."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.arguments import Overrides, SpecFile
from budgetc.cli.completion import targets_of_the_spec
from budgetc.cli.exits import signals_later

if TYPE_CHECKING:
    from budgetc_specs.spec import Spec

_OTHER_NAMES = {
    "amd64": "x86_64",
    "x64": "x86_64",
    "arm64": "aarch64",
    **dict.fromkeys(("armv7", "armv7-a", "armv7a", "armv7l", "armhf"), "arm"),
}
"""What CMake and Meson call processors on other systems."""


def layout(
    spec: SpecFile,
    *,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="This target of the spec.",
            autocompletion=targets_of_the_spec,
        ),
    ] = None,
    processor: Annotated[
        str | None,
        typer.Option(
            "--processor",
            metavar="NAME",
            help="The target for this processor, such as aarch64, where another machine compiles.",
        ),
    ] = None,
    overrides: Overrides = None,
) -> int:
    """Print what a target's files will be called, as JSON; nothing is compiled.

    Without --target and --processor it is the spec's only target, or the one called host.
    """
    from budgetc_specs.document import load_spec

    loaded = load_spec(spec, overrides or ())
    with signals_later():
        from budgetc.emit.link import library_file
        from budgetc.hardware import hardware_of

    name = _chosen(loaded, target, processor)
    output, sheet = loaded.output, hardware_of(loaded, name).capability
    said = {
        "target": name,
        "library": library_file(output.name, output.kind, sheet),
        "header": f"{output.name}.h",
        "kind": output.kind,
        "name": output.name,
    }
    print(json.dumps(said))
    return 0


def _chosen(spec: "Spec", target: str | None, processor: str | None) -> str:
    from budgetc_specs.errors import SpecError, quoted

    with signals_later():
        from budgetc.compile import named_targets

    names = list(spec.targets)
    if target is not None:
        return named_targets(spec, [target])[0]
    if processor is None:
        if len(names) > 1 and "host" not in names:
            raise SpecError.of(
                f"the spec has several targets: {', '.join(names)}", "say which, with --target."
            )
        return names[0] if len(names) == 1 else "host"
    from budgetc.hardware import hardware_of

    wanted = _OTHER_NAMES.get(processor.lower(), processor.lower())
    sheets = {n: hardware_of(spec, n) for n in names}
    fitting = [n for n, h in sheets.items() if h.kind != "host" and h.capability.arch == wanted]
    if len(fitting) == 1:
        return fitting[0]
    has = ", ".join(f"{n} ({h.kind}, {h.capability.arch})" for n, h in sheets.items())
    if fitting:
        raise SpecError.of(
            f"several targets of the spec are for {quoted(processor)}: {', '.join(fitting)}",
            "say which, with --target.",
        )
    raise SpecError.of(
        f"no target of the spec is for the processor {quoted(processor)}",
        f"it has {has}; add one to the spec, or say which with --target.",
    )
