"""Stored tensors and external data: nothing is believed before it is measured, nothing outside is read."""

import os

import numpy as np
import pytest
from budgetc.model import load_model, model_files, parse_model
from budgetc_specs.errors import ModelError
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name="w", shape=(4, 3)):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return numpy_helper.from_array(data, name)


def model_of(nodes, inputs, outputs, initializers=(), *, opset=17, ir=8, functions=(), domains=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))


def matmul(initializer=None, batch=1):
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", [batch, 4])],
        [value("y", [batch, 3])],
        [initializer or weight()],
    )


def saved(folder, model, name="m.onnx"):
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def refusal(path, inputs=None):
    with pytest.raises(ModelError) as caught:
        load_model(path, inputs)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


# Tensors that lie about themselves.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda t: t.dims.__setitem__(0, 5),
            'the initializer "w" is FLOAT [5, 3], which takes 60 bytes, but has 48\n'
            "  the file is damaged or was written by a faulty tool; export the model again.",
        ),
        (
            lambda t: t.dims.__setitem__(0, 1 << 40),
            'the initializer "w" claims 13194139533312 bytes (FLOAT [1099511627776, 3])\n'
            "  a model holds at most 2 GiB (2147483647 bytes) with all its tensors.",
        ),
        (
            lambda t: t.dims.__setitem__(0, -4),
            'the initializer "w" has a negative dimension: [-4, 3]',
        ),
        (
            lambda t: setattr(t, "data_type", 99),
            'the initializer "w" has the element type 99, which ONNX does not define',
        ),
        (
            lambda t: t.float_data.append(1.0),
            'the initializer "w" has raw data beside or instead of its FLOAT values',
        ),
        (
            lambda t: (t.ClearField("raw_data"), t.float_data.extend([1.0] * 11)),
            'the initializer "w" is FLOAT [4, 3], which takes 12 values, but has 11\n'
            "  the file is damaged or was written by a faulty tool; export the model again.",
        ),
        (
            lambda t: (t.ClearField("raw_data"), t.int64_data.extend([1] * 12)),
            'the initializer "w" is FLOAT but has values in int64_data',
        ),
    ],
)
def test_tensors_are_measured_before_they_are_believed(tmp_path, change, text):
    tensor = weight()
    change(tensor)
    assert refusal(saved(tmp_path, matmul(tensor))) == text


def test_typed_and_packed_values_are_counted(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    four_bits = helper.make_tensor("q", TensorProto.INT4, [3, 3], [1, -2, 3, -4, 5, -6, 7, -8, 0])
    zero = helper.make_tensor("z", TensorProto.INT4, [], [0])
    scale = helper.make_tensor("s", FLOAT, [], [0.5])
    model = model_of(
        nodes, [value("x", [1, 3])], [value("y", [1, 3])], [four_bits, scale, zero], opset=21, ir=10
    )
    loaded = load_model(saved(tmp_path, model))
    # Codes of four bits are stored in eight from here on.
    assert (loaded.parameter_count, loaded.weight_bytes) == (11, 9 + 1 + 4)


def test_attribute_tensors_are_measured_too(tmp_path):
    tensor = weight("t", (3,))
    tensor.dims[0] = 4
    model = model_of(
        [
            helper.make_node("Constant", [], ["c"], name="k", value=tensor),
            helper.make_node("Add", ["x", "c"], ["y"]),
        ],
        [value("x", [3])],
        [value("y", [3])],
    )
    assert refusal(saved(tmp_path, model)).startswith(
        'the attribute "value" of the Constant node "k" in the graph is FLOAT [4], '
        "which takes 16 bytes, but has 12"
    )


# External data.


def external(location, *, offset=None, length=None, shape=(4, 3)):
    tensor = TensorProto(name="w", data_type=FLOAT, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, "offset": offset, "length": length}.items():
        if entry is not None:
            tensor.external_data.add(key=key, value=str(entry))
    return tensor


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "model"
    (inside / "deep").mkdir(parents=True)
    data = weight().raw_data
    (inside / "w.bin").write_bytes(data)
    (inside / "deep" / "w.bin").write_bytes(b"\0" * 8 + data)
    (tmp_path / "secret").write_bytes(data)
    return inside


def load_external(folder, *arguments, **options):
    return load_model(saved(folder, matmul(external(*arguments, **options))))


@pytest.mark.parametrize(
    "arguments",
    [
        {"location": "w.bin"},
        {"location": "w.bin", "offset": 0, "length": 48},
        {"location": "./deep//w.bin", "offset": 8},
    ],
)
def test_external_data_is_moved_into_the_model(folder, arguments):
    loaded = load_external(folder, **arguments)
    embedded = load_model(saved(folder, matmul()))
    assert loaded.data == embedded.data


def test_external_data_by_links_that_stay_inside(folder, tmp_path):
    (folder / "link").symlink_to("deep/w.bin")
    assert load_external(folder, "link", offset=8).weight_bytes == 48
    (folder / "hard").hardlink_to(folder / "w.bin")
    assert load_external(folder, "hard").weight_bytes == 48
    (tmp_path / "alias").symlink_to(folder)
    saved(folder, matmul(external("w.bin")))
    assert load_model(tmp_path / "alias" / "m.onnx").weight_bytes == 48


@pytest.mark.parametrize("away", ["store", "store/deep"])
def test_a_model_and_its_data_that_are_links_into_a_store(away, folder, tmp_path):
    """As sandboxes of build systems and caches of models have it: all links lead to one folder, or below it."""
    store, named = tmp_path / "store", tmp_path / "named"
    (tmp_path / away).mkdir(parents=True)
    named.mkdir()
    saved(folder, matmul(external("w.bin"))).rename(store / "4f1c")
    (folder / "w.bin").rename(tmp_path / away / "a09e")
    (named / "m.onnx").symlink_to(store / "4f1c")
    (named / "w.bin").symlink_to(tmp_path / away / "a09e")
    assert load_model(named / "m.onnx").weight_bytes == 48
    assert model_files(named / "m.onnx") == (named / "m.onnx", named / "w.bin")

    (named / "w.bin").unlink()
    (named / "w.bin").symlink_to(tmp_path / "secret")
    assert f"leads outside of {named} and {store}" in refusal(named / "m.onnx")


def test_data_beside_a_link_is_that_of_the_link(folder, tmp_path):
    """So that what is declared to a build system is what is read, not what lies beside the file elsewhere."""
    saved(folder, matmul(external("w.bin")))
    (tmp_path / "named").mkdir()
    link = tmp_path / "named" / "m.onnx"
    link.symlink_to(folder / "m.onnx")
    assert f"does not exist in {link.parent}" in refusal(link)
    (tmp_path / "named" / "w.bin").write_bytes((folder / "w.bin").read_bytes())
    assert model_files(link) == (link, tmp_path / "named" / "w.bin")


SAVE_SO = "\n  external data is a file in the model's folder, named relative to it; save it so."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"location": "/etc/passwd"},
            ' has its data in "/etc/passwd", which is an absolute path' + SAVE_SO,
        ),
        (
            {"location": "C:\\weights"},
            ' has its data in "C:\\weights", which is an absolute path' + SAVE_SO,
        ),
        (
            {"location": "../secret"},
            ' has its data in "../secret", which leads upwards' + SAVE_SO,
        ),
        (
            {"location": "deep\\..\\..\\secret"},
            ' has its data in "deep\\..\\..\\secret", which leads upwards' + SAVE_SO,
        ),
        ({"location": ""}, " has external data without a usable location" + SAVE_SO),
        ({"location": "w\0"}, " has external data without a usable location" + SAVE_SO),
        (
            {"location": "absent"},
            ' has its data in "absent", which does not exist in {folder}\n'
            "  put the file there, or a link to it where the model is a link; it is a part of the model.",
        ),
        (
            {"location": "w.bin", "offset": 8},
            " lies at bytes 8 to 56 of {folder}/w.bin, which has only 48\n"
            "  the file is truncated or belongs to another model; copy it again.",
        ),
        (
            {"location": "w.bin", "length": 8},
            " takes 48 bytes, but the model says that its external data has 8",
        ),
        ({"location": "w.bin", "offset": -1}, ' has external data with the offset "-1"'),
        (
            {"location": "w.bin", "offset": "9" * 30},
            f' has external data with the offset "{"9" * 30}"',
        ),
        (
            {"location": "w.bin", "shape": (1 << 40, 3)},
            " claims 13194139533312 bytes (FLOAT [1099511627776, 3])\n"
            "  a model holds at most 2 GiB (2147483647 bytes) with all its tensors.",
        ),
        ({"location": "deep"}, " has its data in {folder}/deep, which is not a regular file"),
        ({"location": "pipe"}, " has its data in {folder}/pipe, which is not a regular file"),
        (
            {"location": "soft"},
            ' has its data in "soft", which a symbolic link leads outside of {folder}\n'
            "  copy the file itself in the place of the link.",
        ),
        (
            {"location": "out/secret"},
            ' has its data in "out/secret", which a symbolic link leads outside of {folder}\n'
            "  copy the file itself in the place of the link.",
        ),
        (
            {"location": "hard"},
            " has its data in {folder}/hard, which is a hard link to a file outside of {folder}\n"
            '  make a copy of its own: cp "hard" copy && mv copy "hard"',
        ),
    ],
)
def test_external_data_is_contained(folder, arguments, text):
    os.mkfifo(folder / "pipe")
    (folder / "soft").symlink_to("../secret")
    (folder / "out").symlink_to("..")
    (folder / "hard").hardlink_to(folder.parent / "secret")
    path = saved(folder, matmul(external(**arguments)))
    assert refusal(path) == 'the initializer "w"' + text.replace("{folder}", str(folder))


def test_a_loop_of_links(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    path = saved(folder, matmul(external("a")))
    assert 'has its data in "a", which cannot be resolved' in refusal(path)


def test_bytes_can_not_point_to_files(folder):
    with pytest.raises(ModelError, match="has external data, but the model is not a file"):
        parse_model(matmul(external("w.bin")).SerializeToString(), "made by a pass")
