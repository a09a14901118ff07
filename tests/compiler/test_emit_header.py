"""The header compiles wherever C or C++ does, says the truth, and survives any port name."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from budgetc.emit.header import (
    comment,
    identifier,
    interface,
    members,
    render_header,
    workspace_bytes,
)
from budgetc.emit.zig import Zig
from budgetc.lower.lowered import Lowered, Port
from budgetc_specs.errors import InternalError
from hypothesis import given
from hypothesis import strategies as st

AWKWARD = ("class", "a", "A", "0", "x/*y*/z", "été", "_Bool", "a_2", "", "%", "new\nline\\")


def awkward(toy_model: Lowered) -> Lowered:
    ports = tuple(Port(name, "int64", (2, 3)) for name in AWKWARD)
    types = ("float32", "uint8", "int8", "int32", "int64", "bool", "float64")
    outputs = tuple(Port("out", dtype, ()) for dtype in types)
    return replace(toy_model, inputs=ports, outputs=outputs)


@pytest.mark.parametrize(
    ("language", "standard"), [("c", "c99"), ("c", "c23"), ("c++", "c++11"), ("c++", "c++20")]
)
def test_it_compiles_without_a_warning(
    language: str, standard: str, toy_model: Lowered, tmp_path: Path, zig_cache: Path
) -> None:
    (tmp_path / "my-net.h").write_text(render_header([awkward(toy_model)], "my-net", threads=4))
    (tmp_path / "use.c").write_text(
        '#include "my-net.h"\n#include "my-net.h"\n'
        "int use(void *w) { my_net_inputs i = {}; my_net_outputs o = {}; i.class_ = 0; i.a_2_2 = 0;\n"
        "  i.A_2 = 0; o.out = 0; o.out_2 = 0; return my_net_run(&i, &o, w) == MY_NET_OK; }\n"
        if language == "c++" or standard == "c23"
        else '#include "my-net.h"\nint x;\n'
    )
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-std={standard}"]
    Zig(zig_cache / "zig").run(
        "cc", "-x", language, *flags, "-c", "use.c", "-o", "use.o", cwd=tmp_path
    )


def test_the_constants_are_those_of_the_model(
    toy_model: Lowered, tmp_path: Path, zig_cache: Path
) -> None:
    model = replace(toy_model, inputs=(Port("image", "uint8", (1, 28, 3)),), arena_bytes=1001)
    (tmp_path / "net.h").write_text(render_header([model], "net"))
    (tmp_path / "use.c").write_text(
        '#include "net.h"\n'
        "static const int dims[] = NET_INPUT_IMAGE_DIMS;\n"
        '_Static_assert(sizeof dims / sizeof *dims == NET_INPUT_IMAGE_RANK, "");\n'
        '_Static_assert(NET_INPUT_IMAGE_ELEMENTS == 84 && NET_INPUT_IMAGE_RANK == 3, "");\n'
        '_Static_assert(NET_WORKSPACE_BYTES == 1024 && NET_WORKSPACE_ALIGNMENT == 64, "");\n'
        '_Static_assert(sizeof *((net_inputs *)0)->image == 1, "");\n'
        '_Static_assert(sizeof *((net_outputs *)0)->logits == 4, "");\n'
        "int first(void) { return dims[0]; }\n"
    )
    Zig(zig_cache / "zig").run(
        "cc", "-Werror", "-std=c11", "-c", "use.c", "-o", "use.o", cwd=tmp_path
    )


def test_a_workspace_is_never_empty_and_always_whole(toy_model: Lowered) -> None:
    sizes = {0: 64, 1: 64, 64: 64, 65: 128}
    assert {n: workspace_bytes(replace(toy_model, arena_bytes=n)) for n in sizes} == sizes


def test_the_interface_is_what_the_header_declares(toy_model: Lowered) -> None:
    found = interface([toy_model], "my-net", "libmy-net.so")
    assert found.symbol == "my_net_run"
    assert f"int {found.symbol}(" in render_header([toy_model], "my-net")
    assert found.workspace_bytes == workspace_bytes(toy_model)
    assert found.from_json(found.to_json()) == found


@given(st.text())
def test_every_name_has_an_identifier(name: str) -> None:
    word = identifier(name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", word)
    assert identifier(word) == word


@given(st.lists(st.text(alphabet="aA_0/é", max_size=3), min_size=1, max_size=12))
def test_members_differ_even_in_upper_case(names: list[str]) -> None:
    found = members(Port(name, "float32", (1,)) for name in names)
    assert len({member.identifier.upper() for member in found}) == len(names)


@given(st.text(alphabet="*/\\ a\n?é"))
def test_no_text_ends_a_comment(text: str) -> None:
    safe = comment(text)
    assert "*/" not in safe
    assert "/*" not in safe
    assert "\\" not in safe
    assert safe.isascii()


def test_an_element_type_without_a_c_type_is_our_fault(toy_model: Lowered) -> None:
    with pytest.raises(InternalError, match=r"BUG: port 'x' has element type 'complex64'"):
        render_header([replace(toy_model, inputs=(Port("x", "complex64", (1,)),))], "net")


def test_a_model_without_outputs_is_our_fault(toy_model: Lowered) -> None:
    with pytest.raises(InternalError, match="no input or no output"):
        render_header([replace(toy_model, outputs=())], "net")


def test_threads_are_promised_only_where_there_are_any(toy_model: Lowered) -> None:
    assert "may use 4 threads" in render_header([toy_model], "net", threads=4)
    assert "may use" not in render_header([toy_model], "net", threads=1)


def test_further_shapes_have_names_of_their_own(toy_model: Lowered) -> None:
    ports = [Port("image", "float32", (4, 60))], [Port("logits", "float32", (4, 60))]
    four = replace(toy_model, inputs=tuple(ports[0]), outputs=tuple(ports[1]), arena_bytes=4 * 1024)
    text = render_header([toy_model, four], "net")
    assert "#define NET_INPUT_IMAGE_DIMS { 1, 60 }" in text
    assert "#define NET_4X60_INPUT_IMAGE_DIMS { 4, 60 }" in text
    assert "#define NET_LARGEST_WORKSPACE_BYTES 4096" in text
    assert text.count("} net_inputs;") == 1
    found = interface([toy_model, four], "net", "libnet.so")
    assert [e.symbol for e in found.entries] == ["net_run", "net_4x60_run"]
    assert found.from_json(found.to_json()) == found
