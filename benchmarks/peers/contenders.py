"""Who takes part: this project and every peer that is installed, and how each is prepared and measured."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import library
from benchmarks.machine import ROOT, pinned
from benchmarks.models import CALL, Prepared

OURS = "budgetc"
_SECONDS = 400


@dataclass(frozen=True)
class Contender:
    """A runtime at a precision, and the name of its file in a model's folder."""

    runtime: str
    precision: str
    file: str = ""

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{self.runtime} {self.precision}"

    @property
    def ours(self) -> bool:
        """Whether it is this project."""
        return self.runtime == OURS


CONTENDERS = (
    Contender(OURS, "float", "budgetc-float"),
    Contender(OURS, "bf16", "budgetc-bf16"),
    Contender(OURS, "int8", "budgetc-int8"),
    Contender("onnxruntime", "float", "model.onnx"),
    Contender("onnxruntime", "int8", "onnxruntime.int8.onnx"),
    Contender("openvino", "float", "openvino.float.xml"),
    Contender("openvino", "bf16", "openvino.float.xml"),
    Contender("openvino", "int8", "openvino.int8.xml"),
    Contender("litert", "float", "litert.float.tflite"),
    Contender("litert", "int8", "litert.int8.tflite"),
    Contender("ncnn", "float", "ncnn.float.param"),
    Contender("iree", "float", "iree.float.vmfb"),
)
BY_NAME = {c.name: c for c in CONTENDERS}


def installed(python: Path) -> Mapping[str, str]:
    """Versions of the peers that an interpreter can import.

    Raises:
        SystemExit: the interpreter does not run.
    """
    command = [str(python), "-m", "benchmarks.peers.prepare", "--installed"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"--peers-python {python} does not run, or has no numpy: {error}"
        ) from None
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True)
class Field:
    """The contenders of one model, in its folder.

    Attributes:
        model: prepared.
        python: interpreter of the peers.
        peers: versions of the runtimes that it has.
        tflite: folder with NAME.int8.tflite and NAME.float.tflite files, or None.
    """

    model: Prepared
    python: Path
    peers: Mapping[str, str]
    tflite: Path | None

    def prepare(self, threads: list[int], *, build: bool = True) -> Iterator[str]:
        """Make every contender's files; says what it did. What failed is not tried again for the same model."""
        known = self._known()
        for contender in CONTENDERS:
            if self.model.name == CALL and contender.precision != "float":
                continue
            if contender.ours:
                yield from self._build(contender, threads, known, build=build)
            elif contender.runtime in self.peers:
                yield from self._make(contender, known)
            (self.model.folder / "prepared.json").write_text(json.dumps(known, indent=1))

    def ready(self, threads: int) -> list[Contender]:
        """Those that can be measured, in the order of the table."""
        known = self._known()
        here = [c for c in CONTENDERS if c.ours or c.runtime in self.peers]
        return [c for c in here if known.get(_key(c, threads), {}).get("ok")]

    def measure(self, contender: Contender, threads: int, seconds: float) -> dict[str, Any]:
        """One measurement in a fresh, pinned process; with the answers where these are not known yet.

        Raises:
            RuntimeError: the contender failed.
        """
        file = self.file(contender, threads)
        answers = self.answers(contender, threads)
        wanted = None if answers.exists() else answers
        if contender.ours:
            samples = self.model.folder / "samples.bin"
            return library.time_library(file, samples, seconds, threads, wanted)
        samples = self.model.folder / "samples.npy"
        return time_peer(self.python, contender, file, samples, seconds, threads, wanted)

    def file(self, contender: Contender, threads: int) -> Path:
        """What a contender loads."""
        name = f"{contender.file}-{threads}" if contender.ours else contender.file
        return self.model.folder / name

    def answers(self, contender: Contender, threads: int) -> Path:
        """Where its answers are kept: those of the very file that is measured."""
        file = self.file(contender, threads)
        content = file / "libmodel.so" if contender.ours else file
        digest = hashlib.sha256(content.read_bytes())
        if content.with_suffix(".bin").exists():
            digest.update(content.with_suffix(".bin").read_bytes())
        name = f"{contender.runtime}-{contender.precision}-{digest.hexdigest()[:12]}.npz"
        return self.model.folder / "answers" / name

    def _known(self) -> dict[str, dict[str, Any]]:
        file = self.model.folder / "prepared.json"
        known: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
        digest = self.model.digest
        return {k: v for k, v in known.items() if v["digest"] == digest}

    def _entry(self, note: str = "") -> dict[str, Any]:
        return {"ok": not note, "note": note, "digest": self.model.digest}

    def _build(
        self, contender: Contender, threads: list[int], known: dict[str, Any], *, build: bool
    ) -> Iterator[str]:
        recipe = library.RECIPES[contender.precision]
        if contender.precision == "bf16" and not library.multiplies_halves():
            return
        (self.model.folder / "answers").mkdir(exist_ok=True)
        for count in threads:
            key, folder = _key(contender, count), self.file(contender, count)
            if not build and known.get(key):
                continue
            try:
                library.build_library(
                    self.model.model,
                    recipe,
                    count,
                    folder,
                    calibration=self.model.folder / "calibration.npz",
                )
            except Exception as error:  # whatever it is, the others are measured
                known[key] = self._entry(short(error))
            else:
                known[key] = self._entry()
            yield f"{key}: {known[key]['note'] or 'compiled'}"

    def _make(self, contender: Contender, known: dict[str, Any]) -> Iterator[str]:
        key, file = _key(contender, 0), self.model.folder / contender.file
        if contender.file == self.model.model.name or contender.precision == "bf16":
            known[key] = self._entry()
        elif contender.runtime == "litert":
            given = (self.tflite or Path()) / f"{self.model.name}.{contender.precision}.tflite"
            known.pop(key, None)
            if self.tflite and given.exists():
                shutil.copyfile(given, file)
                known[key] = self._entry()
        elif key not in known:
            command = [str(self.python), "-m", "benchmarks.peers.prepare", contender.runtime]
            command += [contender.precision, str(self.model.folder), str(file)]
            try:
                _run(command)
            except RuntimeError as error:
                known[key] = self._entry(short(error))
            else:
                known[key] = self._entry()
            yield f"{key}: {known[key]['note'] or 'prepared'}"
        if contender.name == "onnxruntime int8" and not known[key]["ok"]:
            # Its quantiser fails; what ours made is QDQ too, and the best that it can be given.
            for made in sorted(self.model.folder.glob("budgetc-int8-*/optimised.onnx"))[:1]:
                shutil.copyfile(made, file)
                known[key] = self._entry()
                yield f"{key}: quantized by budgetc instead"


def time_peer(
    python: Path,
    contender: Contender,
    file: Path,
    samples: Path,
    seconds: float,
    threads: int,
    answers: Path | None = None,
) -> dict[str, Any]:
    """One measurement of a peer: what `library.time_library` returns, and its `version`.

    Raises:
        RuntimeError: it crashed, hung or refused the model.
    """
    command = [str(python), "-m", "benchmarks.peers.run", contender.runtime, str(file)]
    command += [str(samples), "--precision", contender.precision, "--threads", str(threads)]
    command += ["--seconds", str(seconds)]
    if answers:
        command += ["--answers", str(answers)]
    with pinned(threads):
        found: dict[str, Any] = json.loads(_run(command).splitlines()[-1])
    return found


def _key(contender: Contender, threads: int) -> str:
    return f"{contender.name} {threads}" if contender.ours else contender.name


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took longer than {_SECONDS} s") from None
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RuntimeError(short(RuntimeError(last)))
    return done.stdout


def short(error: Exception) -> str:
    """An error's first line without folders, short enough for a page."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"(?:/[\w.+-]+)+/", "", text)[:160]
