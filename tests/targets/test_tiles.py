"""Register tiles: what an expression costs, and what that changes in the order of tiles."""

from budgetc_targets.kernels.tiles import COSTS, knob, rank_tiles, split_row
from hypothesis import given
from hypothesis import strategies as st


def test_an_expensive_ending_makes_small_tiles_as_good_as_large_ones():
    def accumulators(ending: float) -> int:
        best = rank_tiles(36, 8, 32, COSTS["vpdpbusd"], ending=ending)[0]
        return knob(best, "pixels") * knob(best, "vectors")

    assert accumulators(100.0) < accumulators(0.0)


@given(
    st.integers(1, 60),
    st.integers(1, 16),
    st.sampled_from([16, 32]),
    st.sampled_from(sorted(COSTS)),
    st.floats(0.0, 200.0),
)
def test_every_tile_fits_the_registers_and_divides_the_blocks(
    width, blocks, registers, name, ending
):
    tiles = rank_tiles(width, blocks, registers, COSTS[name], ending=ending)
    assert tiles
    for tile in tiles:
        pixels, vectors = knob(tile, "pixels"), knob(tile, "vectors")
        assert blocks % vectors == 0
        assert pixels * vectors < registers
        assert sum(count * size for _, count, size in split_row(width, pixels)) == width
