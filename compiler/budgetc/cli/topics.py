"""What `budgetc explain` can explain: every word of a spec or a result, by what the code says of itself."""

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Literal, get_args, get_origin, get_type_hints

from budgetc_specs.errors import SpecError, did_you_mean, exit_codes, quoted

from budgetc.boards import board_names, find_board
from budgetc.ci.sarif import RULES
from budgetc.plugins import installed
from budgetc.status import STATUSES

MOST_NEAR = 3
"""Words that are suggested for one that is not known."""


@dataclass(frozen=True)
class Topic:
    """One thing that can be explained.

    Attributes:
        kind: what kind of thing it is, such as `metric`.
        name: what it is called.
        text: what it means and what to do about it; paragraphs.
        example: a line or more of a spec or a command, or nothing.
    """

    kind: str
    name: str
    text: str
    example: str = ""


@dataclass(frozen=True)
class Kind:
    """Topics of one kind.

    Attributes:
        title: what they are called together.
        names: all of them.
        explain: one of them.
    """

    title: str
    names: Callable[[], Iterable[str]]
    explain: Callable[[str], Topic]


def explained(word: str) -> tuple[Topic, ...]:
    """Everything that is called so; a field of a spec by the end of its path as well.

    Raises:
        SpecError: nothing is; with the nearest words.
    """
    found = [kind.explain(name) for kind in KINDS for name in kind.names() if name == word]
    if not found:
        ends = [path for path in fields() if path.endswith(f".{word}")]
        least = min((path.count(".") for path in ends), default=0)
        found = [_field(path) for path in ends if path.count(".") == least]
    if not found:
        words = {name for kind in KINDS for name in kind.names()}
        last = {path.rpartition(".")[2] for path in fields()}
        near = did_you_mean(word, sorted(words | last), MOST_NEAR)
        raise SpecError.of(
            f"nothing is called {quoted(word)}", f"{near} `budgetc explain` lists it all.".strip()
        )
    return tuple(found)


@functools.cache
def fields() -> Mapping[str, Mapping[str, Any]]:
    """The fields of a spec by their paths, as the JSON Schema has them; a target's own budgets are the spec's."""
    from budgetc_specs.schema import json_schema

    found: dict[str, Mapping[str, Any]] = {}
    for path, schema in _properties(json_schema(), ""):
        if ".NAME.budgets." not in path:
            found.setdefault(path, schema)
    return found


def signature(name: str, kind: type) -> str:
    """A pass as recipes write it, with the defaults of all options."""
    options = ", ".join(pass_options(kind))
    return f"{name}{{{options}}}" if options else name


def pass_options(kind: Any) -> list[str]:
    """`name=default` of a pass's options, with the words that may stand there."""
    hints = get_type_hints(kind)
    return [
        f"{field.name}={_default(field)}{_choice(hints[field.name], field.default)}"
        for field in dataclasses.fields(kind)
        if field.init
    ]


def owner(point: EntryPoint) -> str:
    """The distribution that a plugin comes from."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def _exit_code(name: str) -> Topic:
    (found,) = (each for each in exit_codes() if str(each.code) == name)
    text = "\n\n".join(filter(None, [found.meaning, found.repair]))
    return Topic("exit code", name, text)


def _status(name: str) -> Topic:
    (text,) = (text for status, text in STATUSES.items() if status == name)
    return Topic("verdict", name, text)


def _rule(name: str) -> Topic:
    example = "budgetc compile spec.yaml --sarif findings.sarif"
    return Topic("rule of SARIF", name, RULES[name], example)


def _metric(name: str) -> Topic:
    from budgetc.measure.metrics import metric_options, resolve_metric

    metric = resolve_metric(name)
    options = metric_options(metric)
    better = "More is better" if metric.higher_is_better else "Less is better"
    labels = "the evaluation data need labels" if metric.needs_labels else "no labels are needed"
    lines = [metric.about, f"{better}; {labels}."]
    if options:
        lines.append(f"Options: {', '.join(f'{k}={v}' for k, v in options.items())}.")
    written = f"{name}{{{','.join(f'{k}={v}' for k, v in options.items())}}}" if options else name
    example = f"quality: {{metric: {json.dumps(written) if options else name}}}"
    return Topic("metric", name, "\n\n".join(lines), example)


def _pass(name: str) -> Topic:
    from budgetc.registry import PASSES, find_pass

    found = find_pass(name)
    text = f"{signature(name, found)}\n\n{inspect.getdoc(found) or ''}"
    return Topic(
        "pass", name, f"{text}\n\nFrom {owner(installed(PASSES)[name])}.", f"passes: clean | {name}"
    )


def _target(name: str) -> Topic:
    from budgetc.registry import find_target

    found = find_target(name)
    cpus = ", ".join(found.cpus())
    text = f"{inspect.getdoc(found) or ''}\n\nCPUs: {cpus}.\n\n`budgetc targets show {name}` has them all."
    return Topic("kind of target", name, text, f"targets: {{NAME: {{kind: {name}}}}}")


def _board(name: str) -> Topic:
    board = find_board(name)
    text = f"{board.summary}: {board.kind}, {board.cpu}.\n\n`budgetc targets show {name}` has the rest."
    return Topic("board", name, text, f"targets: {{NAME: {{board: {name}}}}}")


def _field(path: str) -> Topic:
    """A field of a spec: what it is, what it may be, and the fields below it."""
    schema = fields()[path]
    lines = [_sentence(schema)]
    if "default" in schema:
        lines.append(f"Default: {_yaml(schema['default'])}.")
    choices = [each for part in _alternatives(schema) for each in part.get("enum", ())]
    if choices:
        lines.append(f"One of {', '.join(map(_yaml, choices))}.")
    inner = [
        (name.removeprefix(f"{path}."), each)
        for name, each in fields().items()
        if name.startswith(f"{path}.") and "." not in name.removeprefix(f"{path}.")
    ]
    if inner:
        lines.append("\n".join(f"  {name}: {_sentence(each)}" for name, each in inner))
    examples = [each for part in _alternatives(schema) for each in part.get("examples", ())]
    value = examples[0] if examples else choices[0] if choices else schema.get("default")
    example = "" if value is None else _nested(path.split("."), _yaml(value))
    return Topic("field of a spec", path, "\n\n".join(lines), example)


KINDS = (
    Kind("exit codes", lambda: [str(each.code) for each in exit_codes()], _exit_code),
    Kind("verdicts", lambda: STATUSES, _status),
    Kind("fields of a spec", fields, _field),
    Kind("metrics", lambda: installed("budgetc.metrics"), _metric),
    Kind("passes", lambda: installed("budgetc.passes"), _pass),
    Kind("kinds of targets", lambda: installed("budgetc.targets"), _target),
    Kind("boards", board_names, _board),
    Kind("rules of SARIF", lambda: RULES, _rule),
)
"""All that there is, in the order in which it is listed."""


def _properties(schema: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in _alternatives(schema):
        for name, each in part.get("properties", {}).items():
            inner = f"{path}.{name}".removeprefix(".")
            yield inner, each
            yield from _properties(each, inner)
        if isinstance(part.get("additionalProperties"), dict):
            yield from _properties(part["additionalProperties"], f"{path}.NAME")


def _alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schema itself, and those of which a value may have one."""
    return [schema, *schema.get("anyOf", ())]


def _sentence(schema: Mapping[str, Any]) -> str:
    text = str(schema.get("description", ""))
    return f"{text[:1].upper()}{text[1:]}.".replace("..", ".")


def _nested(path: list[str], value: str) -> str:
    *outer, last = path
    text = f"{last}: {value}"
    for name in reversed(outer):
        text = f"{name}: {{{text}}}"
    return text


def _yaml(value: Any) -> str:
    """A value as people write it in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "(required)"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return str(field.default) if field.default != "" else '""'


def _choice(hint: Any, default: object) -> str:
    if get_origin(hint) is not Literal:
        return ""
    others = [str(v) for v in get_args(hint) if v != default]
    return f" (or {', '.join(others)})" if others else ""
