"""Batches of random graphs by seed, and the corpus of those that were once wrong."""

import random
from collections.abc import Iterator
from pathlib import Path

import onnx
from budgetc.model import Model, parse_model
from hypothesis import strategies as st
from onnx import parser, printer

from tests.fuzz.growth import grow
from tests.fuzz.operators import TABLE
from tests.fuzz.trial import Outcome, examine

CORPUS = Path(__file__).parent / "corpus"
BATCH = 25
OPSETS = (13, 15, 17, 18, 20)


def fuzz(graphs: int, seed: int) -> Iterator[list[Outcome]]:
    """Outcomes of so many graphs, batch by batch; graph n of a seed is always the same."""
    for batch, first in enumerate(range(0, graphs, BATCH)):
        opset = OPSETS[(seed + batch) % len(OPSETS)]
        numbers = range(first, min(first + BATCH, graphs))
        yield examine([grown(seed, number, opset) for number in numbers])


def graphs() -> st.SearchStrategy[onnx.ModelProto]:
    """Random models as a hypothesis strategy, which can shrink them."""
    return st.builds(lambda source: grow(source, TABLE), st.randoms(use_true_random=False))


def grown(seed: int, number: int, opset: int) -> Model:
    """Graph `number` of a seed, checked and normalised as the loader does it."""
    source = random.Random(f"{seed} {number}")
    proto = grow(source, TABLE, f"g{number}_", opset)
    return parse_model(proto.SerializeToString(), f"g{number}.onnx")


def write_text(model: Model, path: Path, why: str) -> None:
    """A graph for the corpus, as ONNX text with a comment."""
    proto = onnx.load_model_from_string(model.data)
    del proto.graph.value_info[:]
    words = "".join(f"# {line}\n" for line in why.splitlines())
    path.write_text(f"{words}{printer.to_text(proto)}\n", encoding="utf-8")


def read_text(path: Path) -> Model:
    """A graph of the corpus."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return parse_model(parser.parse_model(text).SerializeToString(), path.name)
