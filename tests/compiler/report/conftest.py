"""Results as the report reads them: searched, infeasible, hostile, and nearly empty; and a browser to show them in."""

import copy
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{7*7}}\x00\x1b[31m\u202egnp.exe\ud800`--><!--"
"""What a name may be that wants to be more: markup, quotes, a template, control and bidi characters."""

KIB = 1024


def verdict(budget: str, limit: float, measured: float | None, unit: str, **rest: Any) -> Any:
    holds = measured is not None and measured <= limit
    status = "PASS" if holds else "FAIL"
    excess = measured / limit - 1 if limit and measured is not None else 0.0
    text = f"{budget}: {measured} of {limit}"
    found = {
        "budget": budget,
        "limit": limit,
        "measured": measured,
        "interval": None,
        "excess": excess,
        "status": status,
        "text": text,
        "unit": unit,
    }
    return {**found, **rest}


def built(recipe: str, size: float, seconds: float, drop: float, **rest: Any) -> dict[str, Any]:
    """A candidate that was built and measured against 64 KiB, 60 us and 0.5 pp."""
    verdicts = [
        verdict("size", 64 * KIB, size, "bytes"),
        verdict("latency", 6e-5, seconds, "seconds", interval=[seconds * 0.98, seconds * 1.02]),
        verdict("quality", 0.005, drop, "fraction", interval=[drop - 0.004, drop + 0.004]),
    ]
    verdicts[2]["doubt"] = "1000 samples do not rule out a drop of more than 0.5 pp"
    kept = all(v["status"] == "PASS" for v in verdicts)
    return {
        "recipe": recipe,
        "outcome": "feasible" if kept else "infeasible",
        "reason": "",
        "origin": "sensitivity ladder",
        "stage": "built",
        "weight_bytes": size - 7000,
        "verdicts": verdicts,
        "measurement": {
            "executed": True,
            "emulated": False,
            "reason": "",
            "size": {"bytes": size, "text": 7000, "rodata": size - 7000, "data": 0},
            "memory": {"bytes": 27216, "arena": 27008, "static": 0, "stack": 208},
            "latency": {
                "statistic": "p50",
                "interval_s": [seconds * 0.98, seconds * 1.02],
                "runs": 200,
                "seconds": {"ours": seconds, "onnxruntime": 1.2e-4, "onnxruntime-int8": 9e-5},
            },
            "quality": {
                "metric": "top1",
                "value": 0.98 - drop,
                "reference": 0.98,
                "drop": drop,
                "interval": [drop - 0.004, drop + 0.004],
                "samples": 1000,
                "slices": [
                    {
                        "slice": "night",
                        "value": 0.9,
                        "reference": 0.95,
                        "drop": 0.05,
                        "interval": [0.01, 0.09],
                        "samples": 60,
                        "judged": True,
                    },
                    {
                        "slice": "rain",
                        "value": 0.75,
                        "reference": 0.75,
                        "drop": 0.0,
                        "interval": [0.0, 0.0],
                        "samples": 4,
                        "judged": False,
                    },
                ],
            },
        },
        "predicted": {"size": size, "latency": seconds * 1.1},
        "agreement": {
            "reference": "onnxruntime",
            "cases": [
                {"name": "real inputs", "inferences": 256},
                {"name": "zeros", "inferences": 4},
            ],
        },
        "parts": {
            "tuned": {"how": "measured on board-1", "notes": ["board-2 was lost"]},
            "arena": 27008,
            "arena_lower_bound": 26944,
            "arena_order_bound": 26944,
            "arena_map": [
                {"name": "image", "offset": 14400, "bytes": 900, "first": 0, "last": 1},
                {"name": "relu1", "offset": 0, "bytes": 14400, "first": 1, "last": 2},
                {"name": "relu2", "offset": 14400, "bytes": 12544, "first": 2, "last": 3},
                {"name": "pool", "offset": 0, "bytes": 3136, "first": 3, "last": 4},
            ],
        },
        "ledger": [
            {"pass": "clean", "modified": False, "weight_bytes": 143976, "notes": []},
            {
                "pass": "fuse",
                "modified": True,
                "weight_bytes": 142056,
                "notes": [{"kind": "did", "node": "/1/Bn", "text": "folded into /0/Conv"}],
            },
            {
                "pass": "quantize{bits=8}",
                "modified": True,
                "weight_bytes": 38289,
                "notes": [{"kind": "refused", "node": "/9/Gemm", "text": "too sensitive"}],
            },
        ],
        **rest,
    }


def simulated(recipe: str, size: float, seconds: float, drop: float) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "outcome": "simulated",
        "reason": "",
        "origin": "warm start",
        "stage": "simulated",
        "predicted": {
            "size": size,
            "memory": 27000,
            "latency": seconds,
            "latency_interval": [seconds * 0.8, seconds * 1.2],
            "quality_drop": drop,
        },
        "verdicts": [],
        "measurement": None,
        "parts": {},
        "ledger": [],
    }


def reached(size: float, drop: float, **rest: Any) -> dict[str, Any]:
    """The figures after a step of a strategy."""
    found = {"quality": 0.98 - drop, "drop": drop, "loss": 0.1, "size": size, "memory": size / 2}
    return {**found, "latency": size / 1e9, "weight_bytes": size - 7000, **rest}


def strategy() -> dict[str, Any]:
    """How a strategy went that ends in the recipe which `searched_target` chose."""
    steps = [
        ("float", "", 0, reached(150 * KIB, 0.0)),
        ("shrunk", "prune{ratio=0.5}", 0, reached(60 * KIB, 0.41)),
        ("trained", "distill{epochs=12}", 12, reached(60 * KIB, 0.004)),
        ("coded", "quantize{bits=8}", 12, reached(45168, 0.006, latency=None)),
    ]
    trials = [
        ("shrink", 1, "prune{ratio=0.25} | distill{epochs=4}", 4, reached(90 * KIB, 0.02), False),
        ("shrink", 1, "prune{ratio=0.5} | distill{epochs=4}", 4, reached(60 * KIB, 0.03), True),
        ("shrink", 2, "prune{ratio=0.5} | distill{epochs=12}", 12, reached(60 * KIB, 0.004), True),
        ("codes", 0, "qat", 12, None, False),
    ]
    return {
        "name": "shrink-improve",
        "time": 300.0,
        "trained": 151.5,
        "judged_on": "a tenth of the training data",
        "steps": [
            {"kind": kind, "text": text, "recipe": text, "epochs": epochs, "reached": found}
            for kind, text, epochs, found in steps
        ],
        "trials": [
            {
                "phase": phase,
                "rung": rung,
                "recipe": recipe,
                "structure": "prune",
                "epochs": epochs,
                "rate": 0.004,
                "temperature": 2.0,
                "hard": 0.3,
                "seconds": 20.0,
                "reached": found,
                "went_on": went_on,
                "reason": "" if found else "it has no codes",
            }
            for phase, rung, recipe, epochs, found, went_on in trials
        ],
        "notes": ["one training was not finished"],
    }


def searched_target() -> dict[str, Any]:
    best = "clean | fuse | quantize{bits=8}"
    trials = [
        {
            "recipe": "clean | fuse",
            "outcome": "out of reach",
            "reason": "its weights alone take 138 KiB",
            "stage": "simulated",
            "verdicts": [],
        },
        built("fuse", 150 * KIB, 9e-5, 0.0),
        built(best, 45168, 2.6e-5, 0.001),
        built("clean | prune{ratio=0.5} | quantize", 20 * KIB, 1.4e-5, 0.09),
        *(
            simulated(f"prune{{ratio={n / 40:g}}} | quantize", 60e3 - 1e3 * n, 4e-5, 2e-4 * n * n)
            for n in range(1, 31)
        ),
    ]
    return {
        "target": "host",
        "capability": {"target": "host", "cpu": "x86-64-v3", "threads": 1},
        "exit_code": 0,
        "folder": "build/digits/host",
        "baseline": {
            "model_bytes": {"onnxruntime": 148422, "onnxruntime-int8": 49875},
            "samples": 1000,
            "metric": "top1",
            "quality": 0.98,
        },
        "chosen": copy.deepcopy(trials[2]),
        "certificate": "",
        "proof": None,
        "search": {
            "seed": 0,
            "objective": "quality, then latency",
            "candidates": 34,
            "simulated": 30,
            "built": 3,
            "seconds": 92.5,
            "stopped": "every candidate was seen",
            "validation": "the calibration data",
        },
        "strategy": strategy(),
        "pays": [
            {
                "pass": "quantize{bits=8}",
                "kept": True,
                "text": "a third of the size",
                "with": {"size": 45168, "latency": 2.6e-5, "quality_drop": 0.001},
                "without": {"size": 150 * KIB, "latency": 9e-5, "quality_drop": 0.0},
            },
            {
                "pass": "prune{ratio=0.125}",
                "kept": False,
                "text": "no faster on this target",
                "with": {"latency": 2.61e-5, "quality_drop": 0.004},
                "without": {"latency": 2.6e-5, "quality_drop": 0.001},
            },
        ],
        "sensitivity": [
            {
                "family": "quantize",
                "part": "/0/Conv",
                "level": 8,
                "drop": 0.0005,
                "error": 0.01,
                "bytes_saved": 432,
            },
            {
                "family": "prune",
                "part": "/3/Conv",
                "level": 0.5,
                "drop": 0.021,
                "error": 0.2,
                "bytes_saved": 9216,
            },
            {
                "family": "prune",
                "part": "/6/Conv",
                "level": "all",
                "drop": None,
                "error": None,
                "bytes_saved": None,
            },
        ],
        "layers": [
            {
                "layer": "/0/Conv",
                "operator": "Conv",
                "kernel": "conv_u8",
                "bits": 8,
                "sparsity": 0.0,
                "weight_bytes": 144,
                "macs": 112896,
                "seconds": 4e-6,
                "sensitivity": 0.0005,
            },
            {
                "layer": "/3/Conv",
                "operator": "Conv",
                "kernel": "conv_u8",
                "bits": 8,
                "sparsity": 0.25,
                "weight_bytes": 9216,
                "macs": 1806336,
                "seconds": 1.2e-5,
                "sensitivity": 0.021,
            },
            {
                "layer": "/9/Gemm",
                "operator": "Gemm",
                "kernel": "matmul",
                "bits": 32,
                "weight_bytes": 2560,
                "macs": 640,
            },
        ],
        "trials": trials,
    }


def infeasible_target() -> dict[str, Any]:
    trials = [
        built("clean | quantize", 80 * KIB, 2.6e-5, 0.001),
        built("clean | prune{ratio=0.5} | quantize", 60 * KIB, 1.4e-5, 0.09),
    ]
    return {
        **searched_target(),
        "exit_code": 1,
        "folder": None,
        "chosen": None,
        "certificate": "size binds\nquality binds",
        "proof": {
            "binding": ["size", "quality"],
            "text": "No recipe keeps size and quality at once.\nEither may be relaxed.",
            "points": [
                {
                    "budget": "size",
                    "unit": "bytes",
                    "limit": 64 * KIB,
                    "reached": 80 * KIB,
                    "text": "keeps the rest",
                    "recipe": "clean | quantize",
                    "trial": 0,
                },
                {
                    "budget": "quality",
                    "unit": "fraction",
                    "limit": 0.005,
                    "reached": 0.09,
                    "text": "keeps the rest",
                    "recipe": trials[1]["recipe"],
                    "trial": 1,
                },
            ],
            "bounds": [{"budget": "size", "bound": 20 * KIB, "unit": "bytes", "why": "code alone"}],
            "stopped": "all 40 candidates were tried",
        },
        "trials": trials,
    }


def result(*targets: dict[str, Any], code: int = 0) -> dict[str, Any]:
    return {"budgetc": 1, "name": "digits", "exit_code": code, "targets": list(targets)}


def made_hostile(value: Any) -> Any:
    """The value with every text that a model, a spec or a plugin may choose made hostile."""
    if isinstance(value, dict):
        fixed = {"outcome", "stage", "status", "unit", "budget", "kind"}
        return {k: v if k in fixed else made_hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [made_hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.fixture
def searched() -> dict[str, Any]:
    """One target that keeps its budgets, with every key that there is."""
    return result(searched_target())


@pytest.fixture
def infeasible() -> dict[str, Any]:
    """One target whose budgets contradict each other."""
    return result(infeasible_target(), code=1)


@pytest.fixture
def both(searched: dict[str, Any], infeasible: dict[str, Any]) -> dict[str, Any]:
    """Two targets, one of which keeps its budgets; and where it all came from."""
    second = {**infeasible["targets"][0], "target": "pi"}
    origins = {
        "sources": {"model": "f04333dc", "passes": "auto"},
        "tools": {"budgetc": "0.1.0"},
        "command": "budgetc compile spec.yaml",
    }
    return {**result(searched["targets"][0], second, code=1), **origins}


@pytest.fixture
def hostile(both: dict[str, Any]) -> dict[str, Any]:
    """The same with hostile texts everywhere, keys of mappings too."""
    value: dict[str, Any] = made_hostile(both)
    value["sources"] = {HOSTILE: HOSTILE}
    value["targets"][1]["target"] += "2"
    value["targets"][0]["baseline"]["model_bytes"][HOSTILE] = 1000
    value["targets"][0]["chosen"]["measurement"]["latency"]["seconds"][HOSTILE] = 1e-5
    return value


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A Chromium of this machine, without a window. Where there is none, the test is skipped; not so in CI."""
    program = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    if program is None:
        words = "Chromium is not installed, and these tests look at the report in it"
        if os.environ.get("BUDGETC_REQUIRE_CHROMIUM"):
            pytest.fail(words)
        pytest.skip(words)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()
