"""How figures are shown and kept: Markdown tables, CSV files, the marked parts of a page, means of ratios."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def geometric_mean(values: Iterable[float]) -> float:
    """The mean for ratios.

    Raises:
        ValueError: there are none, or one is not positive.
    """
    ratios = list(values)
    if not ratios or min(ratios) <= 0:
        raise ValueError("ratios are positive, and there is no mean of nothing")
    logarithms = [math.log(v) for v in ratios]
    return math.exp(math.fsum(logarithms) / len(logarithms))


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column is text, the others are figures.

    Raises:
        ValueError: a row has another number of cells than the head.
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    if any(len(line) != len(head) for line in lines):
        raise ValueError(f"a row does not fit the head {list(head)}")
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped) + "\n"


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows with the same columns, in bytes and seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def insert(page: Path, part: str, text: str) -> None:
    """Replace what stands between a page's markers of that name.

    Raises:
        SystemExit: the page has no such markers.
    """
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page} has no {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def publish(
    name: str, text: str, rows: Sequence[Mapping[str, Any]], out: Path, page: Path | None
) -> None:
    """Print a table, keep it and its rows in a folder, and put it into a page's part of that name."""
    print(text)
    write_csv(rows, out / f"{name}.csv")
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    if page:
        insert(page, name, text)


def numbers(text: str) -> list[int]:
    """The thread counts of an option such as "1,2".

    Raises:
        ValueError: they are not, which argparse turns into an error of the option.
    """
    found = [int(part) for part in text.split(",")]
    if not found or min(found) < 1 or len(set(found)) < len(found):
        raise ValueError(text)
    return found
