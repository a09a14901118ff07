"""Sources: reading the file, and pointing into it."""

import os
from pathlib import Path

import pytest
from budgetc_specs.errors import SpecError
from budgetc_specs.source import Node, Place, Source, dotted, read_source


def error(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        read_source(path, path.name)
    return str(caught.value)


def test_a_file_without_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + "größe: 1\r\nb: 2".encode())
        source, text = read_source(path, "a.yaml")
        assert text == "größe: 1\r\nb: 2"
        assert source.lines == ("größe: 1", "b: 2")


def test_a_missing_file_is_told_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").touch()
    assert error(tmp_path / "spce.yaml") == 'spce.yaml: no such file\n  did you mean "spec.yaml"?'


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    assert (
        error(tmp_path / "a.yaml") == "a.yaml: is a folder, not a spec file\n  name the file in it."
    )


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert error(tmp_path / "f" / "a.yaml") == "a.yaml: cannot be read: Not a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.touch(mode=0)
    assert error(path) == "a.yaml: cannot be read: Permission denied"


def test_a_name_that_no_system_knows() -> None:
    assert "cannot be read: embedded null" in error(Path("a\0b.yaml"))


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (256 * 1024 + 1))
    assert error(path) == "a.yaml: is too large for a spec\n  a spec has at most 256 KiB."


def test_a_byte_that_is_not_utf8_is_pointed_at(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: \xe4x\n")
    assert error(path) == (
        'a.yaml:2:4: the byte "0xe4" is not UTF-8\n'
        "    2 | b: \N{REPLACEMENT CHARACTER}x\n"
        "      |    ^\n"
        "  save the file as UTF-8."
    )


def test_a_place_within_a_value_with_or_without_quotes() -> None:
    source = Source.of("f", "a: fuse | x\nb: 'fuse | x'\nc: >\n  fuse | x")
    assert Place(source, 1, 4).within("fuse | x", 7, 1) == Place(source, 1, 11, 1)
    assert Place(source, 2, 4).within("fuse | x", 7, 1) == Place(source, 2, 12, 1)
    assert Place(source, 3, 4).within("fuse | x", 7, 1) == Place(source, 3, 4)


def test_a_place_in_a_source_without_lines_has_no_position() -> None:
    place = Place(Source("--set a=b"))
    assert str(place.finding("wrong", "right.")) == "--set a=b: wrong\n  right."
    assert place.within("b", 0, 1) == place


def test_a_tree_gives_plain_values() -> None:
    place = Place(Source("f"))
    leaf = Node(place, 4)
    tree = Node(place, fields={"a": Node(place, items=(leaf, Node(place)))}, keys={"a": place})
    assert tree.plain() == {"a": [4, None]}
    inner = tree.child("a")
    assert inner is not None
    assert inner.child(0) is leaf
    assert inner.child(2) is None
    assert inner.child("a") is None


def test_a_location_is_written_as_users_write_it() -> None:
    assert dotted(("inputs", "image", "shape", 1)) == "inputs.image.shape[1]"
    assert dotted(()) == ""
