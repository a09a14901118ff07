"""The capability sheets of a kind as files, `cpus/KIND/CPU.toml` of the package that has the kind."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.document import load_sheet
from budgetc_specs.errors import SpecError, did_you_mean, quoted
from budgetc_specs.sheet import Sheet

_SUFFIX = ".toml"
_SET_ELSEWHERE = {"target", "threads", "native"}


class SheetFolder(Mapping[str, Mapping[str, Any]]):
    """Fields of `Capability` by the name of the CPU; a file is read when it is asked for.

    Args:
        package: the package that the folder `cpus` lies in.
        kind: the target kind.
        native: whether this machine runs the code of a sheet directly.
    """

    def __init__(
        self, package: str, kind: str, native: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        self._folder = files(package).joinpath("cpus", kind)
        self._kind, self._native = kind, native
        self._read: dict[str, Sheet] = {}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        """The fields of a sheet.

        Raises:
            KeyError: there is no such file.
            SpecError: it is wrong, or lacks a field.
        """
        sheet = self.sheet(name)
        fields = sheet.fields()
        for field, about in Capability.model_fields.items():
            if about.is_required() and field not in fields and field not in _SET_ELSEWHERE:
                raise SpecError.of(
                    f"{self._kind}/{name}{_SUFFIX}: {quoted(field)} is missing",
                    f"{about.description}; say it, or what other CPU this one is like.",
                )
        return {**fields, "native": self._native(fields)}

    def __contains__(self, name: object) -> bool:
        """Whether there is a file of that name."""
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        """The names of the files, sorted."""
        return iter(self._files)

    def __len__(self) -> int:
        """How many CPUs there are."""
        return len(self._files)

    def sheet(self, name: str) -> Sheet:
        """What a file says, with what it is like.

        Raises:
            KeyError: there is no such file.
            SpecError: it is wrong.
        """
        return self._sheet(name, ())

    @cached_property
    def _files(self) -> dict[str, Traversable]:
        found = {
            f.name.removesuffix(_SUFFIX): f
            for f in self._folder.iterdir()
            if f.name.endswith(_SUFFIX)
        }
        return dict(sorted(found.items()))

    def _sheet(self, name: str, asked_by: tuple[str, ...]) -> Sheet:
        if name not in self._read:
            with as_file(self._files[name]) as path:
                sheet = load_sheet(path)
            if sheet.like is not None:
                sheet = sheet.over(self._other(sheet.like, (*asked_by, name)))
            self._read[name] = sheet
        return self._read[name]

    def _other(self, name: str, asked_by: tuple[str, ...]) -> Sheet:
        file = f"{self._kind}/{asked_by[-1]}{_SUFFIX}"
        if name in asked_by:
            raise SpecError.of(
                f"{file}: like: {' is like '.join((*asked_by, name))}",
                "one of them has to say all of its fields.",
            )
        if name not in self._files:
            hint = did_you_mean(name, self._files)
            raise SpecError.of(
                f"{file}: like: the kind has no CPU {quoted(name)}",
                f"{hint} It has {', '.join(self._files)}.".strip(),
            )
        return self._sheet(name, asked_by)
