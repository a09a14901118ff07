"""The numbers of a convolution task as its loops see them."""

from dataclasses import dataclass

from budgetc_targets.task import Task


@dataclass(frozen=True)
class ConvolutionShape:
    """The task's numbers under the names that the loops use."""

    batch: int
    groups: int
    channels: int  # of one group, as the reduction sees them (a run counts as channels)
    filters: int  # of one group
    kh: int
    kw: int
    rows: int
    width: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    integer: bool
    run: bool

    @property
    def unit(self) -> int:
        """Channels that one step of the reduction takes."""
        return 4 if self.integer else 1

    @property
    def steps(self) -> int:
        """Steps over the channels, the last one padded with weights of zero."""
        return -(-self.channels // self.unit)


def shape_of(task: Task) -> ConvolutionShape:
    """The numbers of a task."""
    x, y = task.inputs[0], task.output
    kh, kw = task.attribute("kernel")
    groups = task.attribute("groups")
    channels = x.shape[1] // groups
    integer = x.dtype == "uint8"
    dilation = task.attribute("dilation")
    run = integer and groups == 1 and dilation[1] == 1 and kw > 1 and channels % 4 != 0
    run = run and x.strides[3] == channels
    return ConvolutionShape(
        batch=y.shape[0],
        groups=groups,
        channels=channels * kw if run else channels,
        filters=y.shape[1] // groups,
        kh=kh,
        kw=1 if run else kw,
        rows=y.shape[2],
        width=y.shape[3],
        stride=task.attribute("stride"),
        dilation=dilation,
        integer=integer,
        run=run,
    )
