"""The page itself: one file without a single request, drawn from a result's JSON by a template that escapes all."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from budgetc_specs.errors import ModelError
from markupsafe import Markup

from budgetc.report import candidates, changes, figures, ladder, outcome, sections
from budgetc.report.document import Document, Target, parse_result
from budgetc.stamp import PAGE
from budgetc.store import write_atomic

MOST_BYTES = 1_000_000
"""No page is larger; what does not fit is left out, smallest first, and the page says how much that is."""

_MOST_ROWS = (400, 100, 25, 6, 1)
_MANIFEST = "manifest.json"
_MOST_MANIFEST_BYTES = 64 << 20
_LIBRARIES = ("vendored/d3.min.js", "vendored/plot.umd.min.js")

# Observable Plot puts this into each chart, with the class name that charts.js gives it.
_PLOT_STYLE = """:where(.chart) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.chart text),
:where(.chart tspan) {
  white-space: pre;
}"""


def write_report(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the page of a result into its output folder, whole or not at all.

    Args:
        result: what `Result.to_json` returns or `result.json` holds.
        folder: the output folder. Where the result does not say what it was made from and with, the
            manifests of the artefacts in it do.

    Returns:
        The page's file.

    Raises:
        ModelError: the value is no result.
        OSError: the folder cannot be written to.
    """
    path = folder / PAGE
    write_atomic(path, render(result, folder).encode("utf-8"))
    return path


def render(result: Mapping[str, Any], folder: Path | None = None) -> str:
    """The page of a result as HTML, of at most `MOST_BYTES` bytes in UTF-8.

    Args:
        result: what `Result.to_json` returns.
        folder: where its artefacts are, whose manifests fill in what the result does not say.

    Raises:
        ModelError: the value is no result, or one of so many targets that no page can hold them.
    """
    document = _with_origins(parse_result(result), folder)
    for most in (*_MOST_ROWS, 0):
        page = _page(document, most)
        if len(page.encode("utf-8")) <= MOST_BYTES:
            return page
    raise ModelError(
        f"the result has {len(document.targets)} targets: no page of {MOST_BYTES} bytes holds them",
        "read the result's JSON, or compile fewer targets at a time.",
    )


def _page(document: Document, most: int) -> str:
    """The page with at most so many rows in each table; with 0 it is the head and the verdicts alone."""
    head = outcome.outcome(document)
    targets, drawn = [], []
    pairs = zip(document.targets, head.rows, strict=True) if most else ()
    for number, (target, row) in enumerate(pairs):
        view, charts = _target(document, target, row, number, most)
        targets.append(view)
        drawn.append(charts)
    libraries = [Markup(_asset(name)) for name in _LIBRARIES if most]  # noqa: S704  files of ours
    script, style = Markup(_asset("report.js")), Markup(_asset("report.css"))  # noqa: S704
    template = _environment().get_template("page.html")
    return template.render(
        document=document,
        outcome=head,
        targets=targets,
        sections_left_out=not most,
        data=_embedded({"targets": drawn}),
        policy=_policy([*libraries, script], [style, _PLOT_STYLE]),
        libraries=libraries,
        script=script,
        licences=_asset("vendored/LICENSES.txt").splitlines() if most else (),
        style=style,
    )


def _target(
    document: Document, target: Target, row: outcome.Row, number: int, most: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the template shows of one target, and what its charts draw."""
    found = candidates.candidates(target, most)
    memory = sections.arena(target, most)
    chart = candidates.chart(target, found)
    way = ladder.chart(target, most)
    view = {
        "target": target,
        "number": number,
        "row": row,
        "shown": target.shown,
        "recipe_yaml": json.dumps(target.shown.recipe, ensure_ascii=False) if target.shown else "",
        "certificate": sections.certificate(target),
        "candidates": found,
        "left_out": len(target.trials) - len(found) if len(target.trials) > len(found) else 0,
        "axes": chart["axes"],
        "undrawn": len(found) - len(chart["points"]),
        "kinds": {f"{each.stage} {each.tone}" for each in found},
        "bounded": any(chart["limits"][name] is not None for name in ("size", "latency", "drop")),
        "strategy": target.strategy,
        "strategy_text": ladder.sentence(target),
        "way": way,
        "steps": ladder.table(target),
        "trainings": ladder.trainings(target, most),
        "changes": changes.changes(target, most),
        "layers": sections.layers(target, most),
        "sensitivity": sections.sensitivity(target, most),
        "slices": sections.slices(target, most),
        "arena": memory[1] if memory else None,
        "arena_text": sections.arena_text(target),
        "peers": sections.peers(target),
        "facts": sections.facts(document, target),
    }
    drawn = {"candidates": chart, "ladder": way, "arena": memory[0] if memory else None}
    return view, drawn


@cache
def _environment() -> jinja2.Environment:
    """Templates in which all that is not markup of ours is escaped, and nothing invisible is left."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("budgetc.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalised,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": figures.size,
        "time": figures.time,
        "points": figures.points,
        "lines": figures.lines,
    }
    return environment


def _finalised(value: object) -> object:
    if value is None:
        return ""
    return figures.visible(value) if isinstance(value, str) and not _is_markup(value) else value


def _is_markup(value: str) -> bool:
    return isinstance(value, Markup)


@cache
def _asset(name: str) -> str:
    return (files("budgetc.report") / "assets" / name).read_text(encoding="utf-8").strip()


def _embedded(value: object) -> Markup:
    """JSON that no HTML parser takes for anything else, whatever its texts are."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  nothing in it means anything to HTML


def _policy(scripts: list[Markup], styles: list[str]) -> str:
    """A policy under which the page's own scripts and styles run, and nothing is ever fetched or sent."""
    script, style = (" ".join(map(_hash, texts)) for texts in (scripts, styles))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _with_origins(document: Document, folder: Path | None) -> Document:
    """Digests and versions, from the manifests of the artefacts where the result has none."""
    if folder is None or (document.sources and document.tools):
        return document
    for target in document.targets:
        if target.chosen is None or Path(target.target).name != target.target:
            continue
        manifest = _manifest(folder / target.target / _MANIFEST)
        if manifest.get("recipe") == target.chosen.recipe:
            sources = document.sources or _texts(manifest.get("sources"))
            tools = document.tools or _texts(manifest.get("tools"))
            return document.model_copy(update={"sources": sources, "tools": tools})
    return document


def _manifest(path: Path) -> Mapping[str, Any]:
    """A manifest, or nothing where there is none that can be read: it only adds to the page."""
    try:
        if path.stat().st_size > _MOST_MANIFEST_BYTES:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, str)}
