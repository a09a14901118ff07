"""The pages: generated ones are up to date, every link leads somewhere, what they quote is what runs."""

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from budgetc.version import VERSION

ROOT = Path(__file__).parents[1]
IGNORED = {".venv", "build", "dist"}

PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(p in IGNORED or p.startswith(".") for p in path.relative_to(ROOT).parts)
)

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def links(page: Path) -> list[str]:
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    found = [first or second for first, second in _LINK.findall(text)]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def leads_somewhere(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in anchors(target)


@pytest.mark.parametrize("name", ["metrics.md", "passes.md", "targets.md"])
def test_a_generated_page_is_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == generator().PAGES[name](), "write it anew: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if not leads_somewhere(page, link)] == []


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(links(index))


def test_the_readme_quotes_the_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = (ROOT / "specs" / "examples" / "mnist" / "spec.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{example}```" in readme


def test_the_readme_has_every_exit_code() -> None:
    from budgetc_specs import errors

    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    codes = {str(k.exit_code) for k in kinds if hasattr(k, "exit_code")} | {"0", "1", "130"}
    table = generator().exit_code_table()
    assert codes == set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "docs" / "budgets.md"):
        assert table in page.read_text(encoding="utf-8"), page


def test_the_page_on_budgets_has_the_verdicts_as_they_are_explained() -> None:
    page = (ROOT / "docs" / "budgets.md").read_text(encoding="utf-8")
    assert generator().status_table() in page


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(VERSION)}\]", changelog, re.MULTILINE)


@pytest.mark.parametrize("task", ["example", "test"])
def test_the_readme_names_tasks_that_exist(task: str) -> None:
    assert f"make {task}" in (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{task}:", makefile, re.MULTILINE)


@pytest.mark.parametrize(
    "file",
    [
        "cmake/CMakeLists.txt",
        "make/Makefile",
        "meson/meson.build",
        "bazel/model/BUILD.bazel",
        "scikit/CMakeLists.txt",
    ],
)
def test_the_page_on_builds_quotes_the_projects_of_its_tests(file: str) -> None:
    page = (ROOT / "docs" / "build.md").read_text(encoding="utf-8")
    project = ROOT / "tests" / "compiler" / "build_systems" / file
    fence = {"bazel": "starlark", "scikit": "cmake"}.get(system := file.partition("/")[0], system)
    assert f"```{fence}\n{project.read_text(encoding='utf-8')}```" in page
