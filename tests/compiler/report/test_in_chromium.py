"""The page in a browser: quiet, offline, drawn, reachable by keyboard, readable in the dark and on a phone."""

import json

import pytest
from budgetc.report.page import render

WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 360, "height": 740}
PAPER = {"width": 718, "height": 1046}  # A4 within the margins that Chromium prints with
NAMES = ("searched", "infeasible", "both", "hostile")


@pytest.fixture
def show(chromium, tmp_path):
    """Opens a page: `show(result, viewport, scheme)`; afterwards it must have been quiet and asked for nothing."""
    contexts, noise = [], []

    def open_(result, viewport=None, scheme="light"):
        file = tmp_path / f"{len(contexts)}.html"
        file.write_text(result if isinstance(result, str) else render(result), encoding="utf-8")
        context = chromium.new_context(viewport=viewport or WIDE, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: noise.append(m.text))
        page.on("pageerror", lambda e: noise.append(str(e)))
        page.on("dialog", lambda d: noise.append(f"dialog {d.message}"))
        page.on("request", lambda r: r.url == file.as_uri() or noise.append(r.url))
        page.goto(file.as_uri())
        for drawing in page.locator("figure .drawing").all():
            drawing.locator("svg").first.wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert noise == []


def marks(page, chart, kind):
    return page.locator(f"figure[data-chart={chart}] g.{kind} > *")


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize("name", NAMES)
def test_quiet_and_within_phone_screen_and_paper(name, request, show):
    result = request.getfixturevalue(name)
    page = show(result, PHONE)
    assert overflow(page) <= 0
    assert page.locator("img").count() == 0
    assert overflow(show(result, WIDE)) <= 0
    page = show(result, PAPER)
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert overflow(page) <= 0


@pytest.mark.parametrize(
    ("name", "scheme"), [("both", "light"), ("both", "dark"), ("hostile", "light")]
)
def test_accessible(name, scheme, request, show):
    from axe_playwright_python.sync_playwright import Axe

    page = show(request.getfixturevalue(name), WIDE, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(page).response["violations"]
    assert json.dumps([(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found]) == "[]"


def test_charts_have_their_marks(searched, show):
    page = show(searched)
    assert marks(page, "candidates", "built").count() == 3
    assert marks(page, "candidates", "simulated").count() == 30
    assert marks(page, "candidates", "peers").count() == 1
    assert marks(page, "candidates", "budget").count() == 2
    assert marks(page, "candidates", "region").count() == 1
    assert marks(page, "candidates", "front").count() == 1
    assert marks(page, "arena", "values").count() == 4
    shapes = {
        marks(page, "candidates", kind).first.evaluate(
            "(e) => e.tagName + (e.getAttribute('d') || '')"
        )
        for kind in ("built", "simulated", "peers")
    }
    assert len(shapes) == 3, "told apart by shape, not by colour alone"


def test_the_way_of_a_strategy(searched, show):
    page = show(searched)
    assert marks(page, "ladder", "built").count() == 1
    assert marks(page, "ladder", "simulated").count() == 4
    assert marks(page, "ladder", "trained").count() == 3
    assert marks(page, "ladder", "way").count() == 1
    assert marks(page, "ladder", "budget").count() == 2
    marks(page, "ladder", "simulated").nth(2).hover()
    assert "3: trained" in page.locator("#tip").inner_text()
    switch = page.locator("figure[data-chart=ladder]").get_by_label("memory", exact=True)
    switch.check(force=True)
    assert marks(page, "ladder", "simulated").count() == 4
    assert page.get_by_role("table", name="Steps of shrink-improve on host").count() == 1


def test_pointing_at_a_candidate(searched, show):
    page = show(searched)
    tip = page.locator("#tip")
    assert tip.is_hidden()
    marks(page, "candidates", "built").nth(1).hover()
    assert "#3 clean | fuse | quantize{bits=8}" in tip.inner_text()
    assert "size 44.1 KiB, memory 26.6 KiB, latency 26 us, quality drop 0.1 pp" in tip.inner_text()
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    marks(page, "arena", "values").nth(1).hover()
    assert "relu1" in tip.inner_text()


def test_by_keyboard(searched, show):
    page = show(searched)
    first = marks(page, "candidates", "built").first
    first.focus()
    assert "#2 fuse" in page.locator("#tip").inner_text()
    page.keyboard.press("ArrowRight")
    assert "#3 clean" in page.locator("#tip").inner_text()
    page.keyboard.press("End")
    assert "onnxruntime float" in page.locator("#tip").inner_text()
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith("onnxruntime float; model file 144.9 KiB")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    stops = page.locator("figure[data-chart=candidates] .drawing [tabindex='0']")
    assert stops.count() == 1, "one stop for the tabulator"


def test_latency_instead_of_size(searched, show):
    page = show(searched)
    figure = page.locator("figure[data-chart=candidates]")
    assert figure.get_by_text("size budget 64 KiB").count() == 1
    figure.get_by_label("latency", exact=True).check(force=True)
    assert figure.get_by_text("latency budget 60 us").count() == 1
    assert figure.get_by_text("size budget 64 KiB").count() == 0
    assert marks(page, "candidates", "built").count() == 3


def test_sorting_a_table(searched, show):
    page = show(searched)
    page.get_by_text("All 34 candidates as a table").click()
    table = page.get_by_role("table", name="Every candidate of host with its figures")
    head = table.get_by_role("columnheader", name="size")

    def firsts():
        return table.locator("tbody tr td:first-child").all_inner_texts()

    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert firsts()[0] == "4"
    assert firsts()[-1] == "1", "what has no figure comes last"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert firsts()[0] == "2"
    assert firsts()[-1] == "1"


def test_light_and_dark(searched, show):
    background = "getComputedStyle(document.body).backgroundColor"
    page = show(searched)
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark colours").click()
    dark = page.evaluate(background)
    assert dark != light
    assert show(searched, WIDE, "dark").evaluate(background) == dark
    page.get_by_role("button", name="Light colours").click()
    assert page.evaluate(background) == light


def test_print_opens_what_is_folded(searched, show):
    page = show(searched)
    folded = page.locator("details:not([open])").count()
    assert folded > 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == folded


def test_one_point_and_wide_ranges(searched, show):
    target = searched["targets"][0]
    target["trials"] = [target["chosen"]]
    target["baseline"] = {}
    assert marks(show(searched), "candidates", "built").count() == 1
    far = json.loads(json.dumps(target["chosen"]))
    far["measurement"]["size"]["bytes"] *= 1000
    far["measurement"]["latency"]["seconds"]["ours"] *= 1000
    far["measurement"]["quality"]["drop"] = 0.9
    better = json.loads(json.dumps(target["chosen"]))
    better["measurement"]["quality"]["drop"] = -0.2
    target["trials"] += [far, better]
    page = show(searched)
    assert marks(page, "candidates", "built").count() == 3
    switch = page.locator("figure[data-chart=candidates]").get_by_label("latency", exact=True)
    switch.check(force=True)
    assert marks(page, "candidates", "built").count() == 3


def test_a_real_result(compiled, show):
    page = show(json.loads(compiled[1].stdout))
    assert page.get_by_role("heading", level=1).inner_text() == "Both budgets are met on host"
    assert marks(page, "candidates", "built").count() == 1
