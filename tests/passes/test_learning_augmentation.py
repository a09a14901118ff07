"""Changes of samples: by the shape, by the seed, and nothing but what they say."""

import numpy as np
import pytest
from budgetc_passes.contract import Augmentation, Batch
from budgetc_passes.learning.augmentation import (
    Crop,
    Erase,
    Flip,
    Mixup,
    Noise,
    Scale,
    Shift,
    places,
)

ALL = (Flip(), Shift(), Crop(), Noise(), Scale(), Erase(), Mixup())
SHAPES = ((1, 3, 12, 10), (1, 12, 10, 3), (1, 2, 40), (1, 40, 2), (1, 40))


def draw(seed=0):
    return np.random.default_rng(seed)


def samples(shape, count=16):
    return draw(9).uniform(0.5, 1.5, (count, *shape)).astype("f4")


@pytest.mark.parametrize(
    ("shape", "axes"),
    list(zip(SHAPES, [(2, 3), (1, 2), (2,), (1,), (1,)], strict=True)),
)
def test_places_are_told_by_the_shape(shape, axes):
    assert places(shape) == axes


@pytest.mark.parametrize("change", ALL, ids=lambda each: each.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_types_stay_and_a_seed_says_all(change, shape):
    assert isinstance(change, Augmentation)
    x = samples(shape)
    kept, whole = x.copy(), np.arange(16)
    batch = Batch({"x": x, "n": whole})
    made = change.apply(batch, draw())
    assert made.inputs["x"].shape == x.shape
    assert made.inputs["x"].dtype == np.float32
    assert not np.array_equal(made.inputs["x"], x)
    np.testing.assert_array_equal(made.inputs["n"], whole)
    np.testing.assert_array_equal(x, kept)
    again = change.apply(batch, draw())
    np.testing.assert_array_equal(again.inputs["x"], made.inputs["x"])
    assert not np.array_equal(change.apply(batch, draw(1)).inputs["x"], made.inputs["x"])


def test_flips_turn_some_from_left_to_right():
    x = samples((1, 1, 4, 5))
    made = Flip(chance=0.5).apply(Batch({"x": x}), draw()).inputs["x"]
    turned = [np.array_equal(one, other[..., ::-1]) for one, other in zip(made, x, strict=True)]
    stayed = [np.array_equal(one, other) for one, other in zip(made, x, strict=True)]
    assert any(turned)
    assert any(stayed)
    assert [a or b for a, b in zip(turned, stayed, strict=True)] == [True] * 16


def test_shifts_move_by_whole_places_and_bring_zeros():
    x = samples((1, 1, 1, 20))
    made = Shift(by=0.1).apply(Batch({"x": x}), draw()).inputs["x"]
    for one, other in zip(made[:, 0, 0, 0], x[:, 0, 0, 0], strict=True):
        moves = [
            np.concatenate(
                [np.zeros(max(d, 0)), other[max(-d, 0) : 20 - max(d, 0)], np.zeros(max(-d, 0))]
            )
            for d in range(-2, 3)
        ]
        assert one.tolist() in [each.astype("f4").tolist() for each in moves] or not one.any()


def test_crops_hold_what_was_there_in_its_order():
    x = np.tile(np.arange(20, dtype="f4"), (16, 1, 1, 1, 1))
    made = Crop(least=0.5).apply(Batch({"x": x}), draw()).inputs["x"]
    assert (np.diff(made, axis=-1) >= 0).all()
    assert set(np.unique(made)) <= set(range(20))
    assert (np.ptp(made, axis=-1) >= 8).all()


def test_erased_boxes_are_zero_and_no_larger_than_said():
    x = samples((1, 1, 20, 20))
    made = Erase(share=0.25, chance=1.0).apply(Batch({"x": x}), draw()).inputs["x"]
    for one, other in zip(made[:, 0, 0], x[:, 0, 0], strict=True):
        rows, columns = np.nonzero(one != other)
        assert 1 <= np.ptp(rows) + 1 <= 5
        assert 1 <= np.ptp(columns) + 1 <= 5
        assert not one[rows, columns].any()


def test_noise_and_scale_are_as_large_as_said():
    x = draw(3).normal(size=(256, 1, 1, 16, 16)).astype("f4")
    added = Noise(deviation=0.3).apply(Batch({"x": x}), draw()).inputs["x"] - x
    assert added.std() == pytest.approx(0.3 * x.std(), rel=0.05)
    ratio = Scale(by=0.2).apply(Batch({"x": x}), draw()).inputs["x"] / x
    assert 0.8 <= ratio.min() < 0.85
    assert 1.15 < ratio.max() <= 1.2 + 1e-5


def test_mixtures_say_of_what_they_are():
    x = samples((1, 3, 4, 4))
    made = Mixup(alpha=1.0).apply(Batch({"x": x}), draw())
    shares = made.shares.reshape(-1, 1, 1, 1, 1)
    wanted = shares * x + (1 - shares) * x[made.partners]
    np.testing.assert_allclose(made.inputs["x"], wanted, rtol=1e-6)
    assert (made.shares >= 0.5).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Flip(chance=2.0), "flip: chance is 2.0"),
        (lambda: Shift(by=0.0), "shift: by is 0.0"),
        (lambda: Crop(least=-1.0), "crop: least is -1.0"),
        (lambda: Noise(deviation=0.0), "noise: deviation is 0.0"),
        (lambda: Scale(by=2.0), "scale: by is 2.0"),
        (lambda: Erase(share=0.0), "erase: share is 0.0"),
        (lambda: Mixup(alpha=0.0), "mixup: alpha is 0.0"),
    ],
)
def test_options_have_bounds(make, words):
    with pytest.raises(ValueError, match=words):
        make()
