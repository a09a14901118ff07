"""The numbers of a Winograd convolution as its loops see them: tiles of the image, blocks of tiles, scratch memory."""

from dataclasses import dataclass

from budgetc_targets.task import Task

LINE = 16
"""Elements of a cache line."""


@dataclass(frozen=True)
class WinogradShape:
    """The task's numbers under the names that the loops use, for tiles of `size` x `size` results."""

    size: int
    lanes: int
    batch: int
    channels: int
    filters: int
    rows: int
    columns: int

    @property
    def side(self) -> int:
        """Rows and columns of the input that a tile reads."""
        return self.size + 2

    @property
    def positions(self) -> int:
        """Products that take the place of a tile's convolution."""
        return self.side**2

    @property
    def tile_rows(self) -> int:
        """Tiles from the top of an image to its bottom."""
        return -(-self.rows // self.size)

    @property
    def tile_columns(self) -> int:
        """Tiles from the left of an image to its right."""
        return -(-self.columns // self.size)

    @property
    def tiles(self) -> int:
        """Tiles of the whole batch."""
        return self.batch * self.tile_rows * self.tile_columns

    @property
    def filter_vectors(self) -> int:
        """Vectors that hold the filters, the last one perhaps in part."""
        return -(-self.filters // self.lanes)

    @property
    def channel_lanes(self) -> int:
        """Channels that the input transform takes at once: a whole vector, or a power of two below it."""
        return 1 << (min(self.lanes, self.channels).bit_length() - 1)

    @property
    def weights(self) -> int:
        """Transformed weights, padded to whole vectors of filters."""
        return self.positions * self.channels * self.filter_vectors * self.lanes


@dataclass(frozen=True)
class Block:
    """Tiles that are transformed together, the vectors of filters that they meet at once, and both in scratch memory.

    The strides are odd numbers of cache lines, so that what is 36 strides apart spreads over all sets of the cache.
    """

    shape: WinogradShape
    tiles: int
    vectors: int

    @property
    def width(self) -> int:
        """Filters of a block."""
        return self.vectors * self.shape.lanes

    @property
    def row(self) -> int:
        """From the channels of a transformed tile to those of the next."""
        return _odd_lines(self.shape.channels)

    @property
    def input_plane(self) -> int:
        """From one position of the transformed input to the next."""
        return _odd_lines(self.tiles * self.row)

    @property
    def product_plane(self) -> int:
        """From one position of the products to the next."""
        return _odd_lines(self.tiles * self.width)

    @property
    def products(self) -> int:
        """Where the products begin."""
        return self.shape.positions * self.input_plane

    @property
    def scratch(self) -> int:
        """Elements for one thread: whole cache lines."""
        return self.shape.positions * (self.input_plane + self.product_plane)


def shape_of(task: Task, lanes: int, size: int) -> WinogradShape:
    """The numbers of a task."""
    batch, filters, rows, columns = task.output.shape
    return WinogradShape(size, lanes, batch, task.inputs[0].shape[1], filters, rows, columns)


def _odd_lines(elements: int) -> int:
    return LINE * (-(-elements // LINE) | 1)
