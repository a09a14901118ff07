"""The memory map in words: bounds beside the arena, a line for each value."""

import io

from budgetc.cli.memory_map import print_memory_map
from rich.console import Console

PARTS = {
    "arena": 1088,
    "arena_lower_bound": 1000,
    "arena_order_bound": 960,
    "arena_map": [
        {"name": "conv[1]", "offset": 0, "bytes": 640, "first": 0, "last": 1},
        {"name": "sum", "offset": 640, "bytes": 360, "first": 1, "last": 2},
    ],
}


def printed(parts):
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_memory_map(console, parts)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_every_value_with_its_place_and_its_life():
    assert printed(PARTS) == [
        "arena 1088 bytes (1.1 KiB); lower bound for the order of calls 1000 bytes, 8.8% over it; "
        "no order needs fewer than 960 bytes",
        "offset bytes first call last call value",
        "0 640 0 1 conv[1]",
        "640 360 1 2 sum",
    ]


def test_a_model_without_an_arena():
    empty = {"arena": 0, "arena_lower_bound": 0, "arena_order_bound": 0, "arena_map": []}
    assert len(printed(empty)) == 1


def test_a_manifest_without_a_map():
    assert printed({"arena": 64}) == []
