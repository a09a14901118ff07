"""`budgetc doctor` tries each part, and a missing one is named with its repair."""

import platform

NAMES = ["packages", "tvm", "zig", "cache", "onnxruntime", "llvm", "linker", "qemu-aarch64"]


def test_this_machine_is_well_even_without_qemu(budgetc_cli):
    done = budgetc_cli("doctor", env={"PATH": ""})
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout
    assert [w[1] for w in lines if w[0] in {"ok", "missing", "optional"}] == NAMES
    assert ["ok", "tvm"] in [w[:2] for w in lines]
    assert "apache-tvm 0.27.0.post1" in done.stdout
    if platform.machine() != "aarch64":
        assert ["optional", "qemu-aarch64"] in [w[:2] for w in lines]


def test_what_is_missing_is_named(budgetc_cli, tmp_path):
    (tmp_path / "file").touch()
    # No PATH, so no qemu; another tvm-ffi, which is the pair that crashes; a cache that no folder can be.
    info = tmp_path / "apache_tvm_ffi-0.1.15.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: apache-tvm-ffi\nVersion: 0.1.15\n")
    env = {"PATH": "", "PYTHONPATH": str(tmp_path), "BUDGETC_CACHE": str(tmp_path / "file" / "c")}
    done = budgetc_cli("doctor", env=env)
    lines = done.stdout.splitlines()
    assert done.returncode == 4
    (at,) = (i for i, line in enumerate(lines) if line.startswith("missing  tvm "))
    assert "apache-tvm-ffi is 0.1.15, it must be 0.1.14.post1" in lines[at]
    assert "pip install" in lines[at + 1]
    assert "apache-tvm-ffi==0.1.14.post1" in lines[at + 1]
    assert "apache-tvm==0.27.0.post1" in lines[at + 1]
    (at,) = (i for i, line in enumerate(lines) if line.startswith("missing  cache "))
    assert "repair: set BUDGETC_CACHE" in lines[at + 1]
    if platform.machine() != "aarch64":
        (at,) = (i for i, line in enumerate(lines) if line.startswith("optional qemu-aarch64"))
        assert "apt-get install qemu-user" in lines[at + 1]
