"""Samples: the real sets pass and stream, and whatever does not fit the model is told in one go."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from budgetc.data import load_data
from budgetc.lower.lowered import Port
from budgetc.model import Model, load_model
from budgetc_specs.errors import SpecError

EXAMPLES = Path(__file__).parents[2] / "specs/examples"


def model_of(*ports):
    return Model(Path("m.onnx"), b"", "", ports, (Port("y", "float32", (1, 2)),), 17, 0, 0)


IMAGES = model_of(Port("image", "float32", (1, 2, 3)))


def saved(folder, **arrays):
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def images(count=4, dtype=np.float32):
    return np.arange(count * 6, dtype=dtype).reshape(count, 2, 3)


def refusal(path, model=IMAGES, **options):
    with pytest.raises(SpecError) as caught:
        load_data(path, model, **options)
    return str(caught.value).replace(str(path), "data.npz")


@pytest.mark.parametrize(
    ("example", "model", "count"),
    [("mnist", "mnist5k_cnn", 1000), ("animals", "animalmnist_dscnn", 2000)],
)
def test_real_sets(example, model, count):
    loaded = load_model(EXAMPLES / example / f"{model}.onnx", {"input": [1, 1, 28, 28]})
    path = EXAMPLES / example / "evaluation.npz"
    data = load_data(path, loaded, labels_required=True)
    whole = np.load(path)
    assert (data.steps, data.count, data.left_over, len(data.digest)) == (count, count, 0, 64)
    np.testing.assert_array_equal(data.labels, whole["label"])
    samples = [s["input"] for s in data.samples(5)]
    np.testing.assert_array_equal(np.concatenate(samples), whole["input"][:5])
    assert samples[0].shape == (1, 1, 28, 28)


def test_batches_and_what_is_left_over(tmp_path):
    model = model_of(Port("image", "float32", (3, 2, 3)))
    data = load_data(saved(tmp_path, image=images(7), label=np.arange(7)), model)
    assert (data.steps, data.count, data.left_over) == (2, 6, 1)
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    batches = [s["image"] for s in data.samples()]
    np.testing.assert_array_equal(np.concatenate(batches), images(7)[:6])


def test_several_inputs_scalars_and_starting_again(tmp_path):
    model = model_of(
        Port("image", "uint8", (1, 2, 3)), Port("pairs", "int32", (2, 5)), Port("t", "float32", ())
    )
    path = saved(
        tmp_path,
        image=images(4, np.uint8),
        pairs=np.arange(40, dtype=np.int32).reshape(8, 5),
        t=np.arange(4, dtype=np.float32),
    )
    data = load_data(path, model)
    for _ in range(2):
        shapes = [{n: a.shape for n, a in s.items()} for s in data.samples()]
        assert shapes == [{"image": (1, 2, 3), "pairs": (2, 5), "t": ()}] * 4
    assert [float(s["t"]) for s in data.samples()] == [0, 1, 2, 3]
    np.testing.assert_array_equal(
        np.concatenate([s["pairs"] for s in data.samples()]), np.load(path)["pairs"]
    )


def test_memory_does_not_grow_with_the_set(tmp_path):
    model = model_of(Port("image", "float32", (1, 64, 64)))
    path = tmp_path / "data.npz"
    np.savez_compressed(path, image=np.zeros((4000, 64, 64), np.float32))
    tracemalloc.start()
    data = load_data(path, model)
    assert sum(1 for _ in data.samples()) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # the set takes 62 MiB


def test_all_wrong_names_at_once(tmp_path):
    path = saved(tmp_path, imge=images(), labels=np.arange(4))
    assert refusal(path, labels_required=True) == (
        'data.npz: there is no array for the model\'s input "image"\n'
        '  the archive holds "imge", "labels". did you mean "imge"?\n'
        'data.npz: the array "imge" is for no input of the model\n'
        '  did you mean "image"? an archive holds one array per input, "label" and, if you like, "slice".\n'
        'data.npz: the array "labels" is for no input of the model\n'
        '  did you mean "label"? an archive holds one array per input, "label" and, if you like, "slice".\n'
        'data.npz: there is no array "label"\n'
        "  add what is right for each sample, or choose a metric that needs no labels, such as "
        "agreement."
    )


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (
            {"image": images(dtype=np.uint8)},
            'the array "image" is uint8, the model\'s input is float32\n'
            "  scale it as the model was trained, then save .astype('float32').",
        ),
        (
            {"image": images(dtype=np.float64)},
            'the array "image" is float64, the model\'s input is float32\n'
            "  scale it as the model was trained, then save .astype('float32').",
        ),
        (
            {"image": images().astype(">f4")},
            'the array "image" is float32 in foreign byte order, the model\'s input is float32\n'
            "  scale it as the model was trained, then save .astype('float32').",
        ),
        (
            {"image": images().reshape(4, 3, 2)},
            'the array "image" is [4, 3, 2], the model\'s input is [1, 2, 3]\n'
            "  samples are on axis 0: the shape is [N, 2, 3].",
        ),
        (
            {"image": np.float32(1)},
            'the array "image" is [], the model\'s input is [1, 2, 3]\n'
            "  samples are on axis 0: the shape is [N, 2, 3].",
        ),
        (
            {"image": np.where(images() == 13, np.float32("inf"), images())},
            'the array "image" has a NaN or an infinity in sample 2\n'
            "  remove the sample, or look at how it was scaled.",
        ),
        (
            {"image": images(0)},
            'the array "image" has 0 samples, one inference takes 1\n'
            "  give more samples, or a smaller batch under `inputs` of the spec.",
        ),
        (
            {"image": images(), "label": np.arange(5)},
            'there are 5 labels for 4 samples\n  "label" has one row for each row of "image".',
        ),
        (
            {"image": images(), "label": np.array(["a", "b", "c", "d"])},
            'the array "label" is str32 [4]\n  labels are numbers, one row for each sample.',
        ),
        (
            {"image": images(), "label": np.array([1, np.nan, 1, 1])},
            'the array "label" has a NaN or an infinity\n  remove the sample.',
        ),
        (
            {"image": np.asfortranarray(images())},
            'the array "image" is stored column by column\n'
            "  write numpy.ascontiguousarray of it, so that samples can be read one by one.",
        ),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, text):
    assert refusal(saved(tmp_path, **arrays)) == f"data.npz: {text}"


def test_integer_images_where_the_model_wants_them(tmp_path):
    model = model_of(Port("image", "uint8", (1, 2, 3)))
    assert load_data(saved(tmp_path, image=images(dtype=np.uint8)), model).count == 4
    assert refusal(saved(tmp_path, image=images(dtype=np.int8)), model) == (
        'data.npz: the array "image" is int8, the model\'s input is uint8\n'
        "  save .astype('uint8')."
    )


def test_inputs_of_different_lengths(tmp_path):
    model = model_of(Port("a", "float32", (1, 2)), Port("b", "float32", (2, 2)))
    path = saved(tmp_path, a=np.zeros((3, 2), np.float32), b=np.zeros((5, 2), np.float32))
    assert refusal(path, model) == (
        'data.npz: "a" has 3 samples and "b" 5\n'
        "  one inference takes 1 and 2 of them; every sample has both."
    )


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_nothing_is_unpickled(tmp_path):
    array = np.empty(4, object)
    array[:] = [Bomb()] * 4
    assert refusal(saved(tmp_path, image=array)) == (
        'data.npz: the array "image" holds Python objects or records, not numbers\n'
        "  write plain numbers; objects would have to be unpickled, which runs code."
    )


def claimed(shape, data=b""):
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + data


def test_a_header_that_claims_more_than_there_is(tmp_path):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", claimed((1 << 40, 2, 3), b"\0" * 48))
    assert refusal(path) == (
        'data.npz: the data is damaged or not an .npz archive: the array "image" ends early\n'
        "  write the arrays again with numpy.savez."
    )


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "data.npz"
    assert refusal(path) == "data.npz: the data can not be read: No such file or directory"
    path.write_bytes(b"PK, but no more")
    assert refusal(path) == (
        "data.npz: the data is damaged or not an .npz archive: File is not a zip file\n"
        "  write the arrays again with numpy.savez."
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"no array")
    assert "the data is damaged or not an .npz archive: " in refusal(path)


def test_every_truncation_is_a_spec_error(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", image=images(100), label=np.arange(100))
    whole = (tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "data.npz"
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        refusal(path)


def test_flipped_bits_are_noticed(tmp_path):
    path = saved(tmp_path, image=images(100))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "damaged" in refusal(path)
