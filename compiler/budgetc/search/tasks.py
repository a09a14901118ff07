"""A piece of the search that can run anywhere: one call in a supervised child, files in, files and JSON out."""

import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budgetc_specs.errors import BudgetcError, EnvironmentError_, ModelError, SpecError

from budgetc.worker import ChildDied, Progress, run_child


@dataclass(frozen=True)
class Task:
    """One call. The function gets `folder`, an empty folder of its own, beside the arguments and the files.

    Attributes:
        function: where it lives, as `module:function`.
        arguments: JSON-able keyword arguments.
        files: files that it reads, by the argument that names them. Elsewhere they have other paths.
        made: names of the files that it leaves in its folder.
        timeout_s: limit of its time in seconds.
        memory_bytes: limit of its private memory in bytes.
    """

    function: str
    arguments: Mapping[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    timeout_s: float = 600.0
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a task came to: a result and the bytes of the files it made, or why there is none.

    Attributes:
        result: JSON values.
        files: by name.
        refusal: why there is no result: the candidate's fault, not that of the spec or of this machine.
    """

    result: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    refusal: str = ""


def run_task(
    task: Task,
    *,
    cancelled: threading.Event | None = None,
    progress: Progress | None = None,
) -> Answer:
    """Run a task here.

    Raises:
        SpecError, EnvironmentError_: the spec or this machine is at fault, so that no other candidate does better.
        Cancelled: the event was set meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="budgetc-task-") as name:
        folder = Path(name)
        try:
            result = run_child(
                task.function,
                {
                    **task.arguments,
                    **{argument: str(path) for argument, path in task.files.items()},
                    "folder": str(folder),
                },
                timeout_s=task.timeout_s,
                memory_bytes=task.memory_bytes,
                cancelled=cancelled,
                progress=progress,
            )
        except (SpecError, EnvironmentError_):
            raise
        except (ChildDied, ModelError) as error:
            return Answer(refusal=error.message)
        except BudgetcError as error:
            return Answer(refusal=str(error))
        missing = [name for name in task.made if not (folder / name).is_file()]
        if missing:
            raise AssertionError(f"BUG: {task.function} left no {', '.join(missing)}")
        return Answer(result, {n: (folder / n).read_bytes() for n in task.made})
