"""Compile the example and keep pictures of its HTML report, light and dark: `make picture`."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from budgetc.report.page import write_report
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SPEC = "specs/examples/mnist/spec.yaml"
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDTH, HEIGHT = 1180, 1240
MOST_BYTES = 300_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def compiled(out: Path) -> dict[str, Any]:
    """The result of the example.

    Raises:
        SystemExit: the command failed; its messages are shown.
    """
    command = [sys.executable, "-m", "budgetc.cli.main", "compile", SPEC, "--force", "--json"]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def chosen_number(result: dict[str, Any]) -> int:
    """The number that the report gives the candidate that was handed over."""
    target = result["targets"][0]
    recipes = [trial["recipe"] if trial["measurement"] else None for trial in target["trials"]]
    return recipes.index(target["chosen"]["recipe"]) + 1


def picture(browser: Browser, page: Path, scheme: Scheme, candidate: int) -> bytes:
    """What a browser shows of the page's beginning, as PNG, with one candidate pointed at."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
    shown = context.new_page()
    shown.goto(page.as_uri())
    chart = shown.locator("figure[data-chart=candidates]").first
    chart.locator("svg.chart").wait_for()
    chart.locator(f'[aria-label^="#{candidate} "]').focus()
    image: bytes = shown.screenshot()
    context.close()
    return image


def main() -> int:
    """Write the pictures."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("Chromium is needed to take a picture of the report: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        out = Path(folder)
        result = compiled(out / "mnist")
        page = write_report(result, out / "mnist")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for scheme in SCHEMES:
            image = picture(browser, page, scheme, chosen_number(result))
            if len(image) > MOST_BYTES:
                sys.exit(f"the {scheme} picture has {len(image)} bytes, more than {MOST_BYTES}")
            path = IMAGES / f"page-{scheme}.png"
            path.write_bytes(image)
            print(f"wrote {path.relative_to(ROOT)}")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
