"""A build hook for hatchling: a wheel that holds a compiled model and what loads it, and needs numpy alone.

[build-system]
requires = ["hatchling", "budgetc"]

[tool.hatch.build.targets.wheel.hooks.budgetc]
spec = "model/spec.yaml"        # relative to the project
package = "animals/model"       # the folder in the wheel: `from animals.model import model`
target = "host"                 # one of the spec's targets; may be left out where there is one
locked = true                   # from the lock file beside the spec; false by default
tag = "py3-none-linux_x86_64"   # of the wheel; by default made of the target's architecture
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

_OPTIONS = {
    "spec",
    "package",
    "target",
    "locked",
    "tag",
    "dependencies",
    "require-runtime-dependencies",
}
_PLATFORMS = {
    # The libraries ask for nothing newer than this release of glibc.
    "x86_64": "manylinux_2_17_x86_64",
    "aarch64": "manylinux_2_17_aarch64",
}

_INIT = '''"""The model {name}, compiled by budgetc: `model` is a function of numpy arrays."""

from pathlib import Path

from .loader import LoadedModel, load

__all__ = ["LoadedModel", "model"]

model = load(Path(__file__).parent)
'''


class ModelBuildHook(BuildHookInterface[Any]):
    """Compiles the model when a wheel is built, and puts it into the wheel."""

    PLUGIN_NAME = "budgetc"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless nothing has changed since the last time.

        Args:
            version: `editable` for an installation for development, which is left alone.
            build_data: hatchling's; it gains files and the wheel's tag.

        Raises:
            SystemExit: an option is missing or unknown, or the model does not keep its budgets.
        """
        if version == "editable":
            return
        package = self._option("package").strip("/")
        spec = Path(self.root) / self._option("spec")
        chosen = ["--target", self._option("target")] if "target" in self.config else []
        layout = json.loads(self._budgetc("layout", str(spec), *chosen))
        out = Path(self.directory) / "budgetc" / layout["name"]
        mode = ["--locked"] if self.config.get("locked") else []
        said = ("--target", layout["target"], "--out", str(out), "--quiet", *mode)
        self._budgetc("compile", str(spec), *said)
        folder = out / layout["target"]
        files = {path: path.name for path in sorted(folder.iterdir())}
        files |= _loader(layout["name"], out / "loader")
        include = build_data["force_include"]
        include.update({str(path): f"{package}/{name}" for path, name in files.items()})
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        build_data["pure_python"] = False
        build_data["tag"] = self.config.get("tag") or _tag(manifest["target"]["arch"])

    def _option(self, name: str) -> str:
        unknown = sorted(set(self.config) - _OPTIONS)
        value = self.config.get(name)
        if unknown:
            sys.exit(f"the budgetc build hook has no option {unknown[0]!r}")
        if not isinstance(value, str) or not value:
            sys.exit(f'the budgetc build hook needs the option "{name}", a text')
        return value

    def _budgetc(self, *arguments: str) -> str:
        """What a command prints; its errors and verdicts go where the build's go."""
        command = [sys.executable, "-m", "budgetc", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"the model was not built: budgetc ended with {done.returncode}")
        return done.stdout


def _loader(name: str, folder: Path) -> dict[Path, str]:
    """The loader as modules of a package that has no budgetc beside it, by what they are called there."""
    own = Path(__file__).parent
    loader = (own / "load.py").read_text(encoding="utf-8")
    texts = {
        "__init__.py": _INIT.format(name=name),
        "loader.py": loader.replace("from budgetc.element_types", "from .element_types"),
        "element_types.py": (own / "element_types.py").read_text(encoding="utf-8"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return {folder / file: file for file in texts}


def _tag(arch: str) -> str:
    platform = _PLATFORMS.get(arch)
    if platform is None:
        sys.exit(f"no wheel runs on {arch}: name a tag for it, with the option tag")
    return f"py3-none-{platform}"


@hookimpl
def hatch_register_build_hook() -> type[ModelBuildHook]:
    """What hatchling asks for."""
    return ModelBuildHook
