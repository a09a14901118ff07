"""Every element type of ONNX that holds numbers has a place in C and in numpy."""

import subprocess
import sys

import pytest
from budgetc.element_types import ARITHMETIC_TYPES, C_TYPES, numpy_type
from onnx import TensorProto, helper

SIZES = {"float": 4, "double": 8, **{f"{u}int{n}_t": n // 8 for n in (8, 16, 32, 64) for u in "u "}}


@pytest.mark.parametrize("name", C_TYPES)
def test_numpy_and_c_agree_about_the_size(name):
    sizes = {key.strip(): size for key, size in SIZES.items()}
    assert numpy_type(name).itemsize == sizes[C_TYPES[name]]
    assert numpy_type(name).name == name


def test_all_of_onnx_are_there():
    beyond = {"UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128"}
    kinds = [number for name, number in TensorProto.DataType.items() if name not in beyond]
    assert {helper.tensor_dtype_to_np_dtype(kind).name for kind in kinds} == set(C_TYPES)


def test_kernels_compute_with_what_numpy_has_itself():
    assert {numpy_type(name).kind for name in ARITHMETIC_TYPES} == set("fiub")


def test_names_are_known_where_onnx_is_not_imported():
    script = (
        "from budgetc.element_types import numpy_type; import sys;"
        "assert numpy_type('bfloat16').itemsize == 2; assert 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
