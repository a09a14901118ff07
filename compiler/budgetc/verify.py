"""Checking an artefact that was compiled before, without its spec."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from budgetc_specs.capability import Capability
from budgetc_specs.errors import EnvironmentError_, ModelError, quoted

from budgetc.artefact import read_artefact
from budgetc.assess import stacked, synthetic
from budgetc.data import load_data
from budgetc.entries import entry_names, model_file
from budgetc.load import Interface, Port
from budgetc.lower.lowered import Port as Lowered
from budgetc.measure.harness import Harness
from budgetc.model import Model, load_model
from budgetc.registry import find_target
from budgetc.run import start_archive, start_module, start_native
from budgetc.verification.report import Report
from budgetc.verification.verifier import SECONDS, Say, Verifier, knows_denormals


@dataclass(frozen=True)
class _Artefact:
    folder: Path
    interface: Interface
    capability: Capability


def verify(
    artefact: str | Path,
    model: str | Path | None = None,
    data: str | Path | None = None,
    *,
    seconds: float = SECONDS,
    say: Say = lambda _: None,
) -> Report:
    """Compare a compiled library with onnxruntime, on real and on adversarial inputs.

        report = budgetc.verify("build/mnist/host", data="evaluation.npz")
        print(report)
        assert report.agrees

    Args:
        artefact: the folder of one target that `budgetc compile` wrote.
        model: the ONNX model to hold it against; by default the optimised one in the folder, which it was made of. The
            model before passes that change numbers, such as quantisation, is another function and will differ.
        data: an archive of real inputs as specs name them, for the first of the shapes; without one, and for the other
            shapes, normal random numbers take their place.
        seconds: time for adversarial inputs.
        say: told what is being compared.

    Returns:
        What was compared and how; `agrees` is the verdict.

    Raises:
        SpecError: the folder holds no artefact, or the data are not for the model.
        ModelError: the artefact is damaged, or the model has other inputs and outputs.
        EnvironmentError_: the library cannot be run here.
        BinaryError: it crashed or hung.
    """
    found = _open(Path(artefact))
    entries = found.interface.entries
    names = entry_names(entries)
    reports = []
    for name, interface in zip(names, entries, strict=True):
        shapes = {p.name: p.shape for p in interface.inputs}
        path = Path(model) if model is not None else found.folder / model_file(name)
        held_against = load_model(path, shapes)
        _check_ports(held_against, interface, path)
        samples = load_data(Path(data), held_against) if data is not None and not name else None
        real = stacked(samples) if samples else synthetic(held_against.inputs)
        with _start(found, interface) as harness:
            verifier = Verifier(
                held_against,
                harness.run,
                fixed_point=found.capability.fixed_point,
                denormals=knows_denormals(found.capability, held_against),
            )
            reports.append(verifier.verify(real, seconds=seconds, say=say))
    return reports[0].joined(list(zip(names[1:], reports[1:], strict=True)))


def _open(folder: Path) -> _Artefact:
    manifest = read_artefact(folder)
    return _Artefact(
        folder, Interface.from_json(manifest), Capability.model_validate(manifest["target"])
    )


def _check_ports(model: Model, interface: Interface, path: Path) -> None:
    for kind, has, wants in (
        ("inputs", model.inputs, interface.inputs),
        ("outputs", model.outputs, interface.outputs),
    ):
        if _signature(has) != _signature(wants):
            listed = ", ".join(f"{p.name}: {p.dtype}{list(p.shape)}" for p in wants)
            raise ModelError(
                f"{path}: its {kind} are not those of the artefact {quoted(interface.name)}",
                f"the artefact's are {listed}; give the model that it was compiled from.",
            )


def _signature(ports: Iterable[Port | Lowered]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(p.name, p.dtype, p.shape) for p in ports]


def _start(artefact: _Artefact, interface: Interface) -> Harness:
    capability = artefact.capability
    runner = find_target(capability.target).runner(capability)
    library = artefact.folder / interface.library
    if capability.system == "module":
        started = start_module(library, interface, runner)
    elif library.suffix == ".a":
        started = start_archive(library, interface, capability, runner)
    elif capability.native:
        started = start_native(library, interface, capability, runner)
    else:
        raise EnvironmentError_(
            f"{library.name} is a shared library for {capability.cpu}, which an emulator cannot open",
            "compile with `output.kind: static`, or verify on the device.",
        )
    if started is None:
        raise EnvironmentError_(f"{library.name} cannot be run here", f"{runner.why_not}.")
    return started
