"""Machines by the model of their CPU: as /proc/cpuinfo has it, the clock of the moment left out."""

import platform

from budgetc.machine import machine_fingerprint, machine_words

CPUINFO = """processor : 0
vendor_id : A
cpu family : 6
model name : A 1000
cpu MHz : {mhz}
cache size : 1024 KB

processor : 1
model name : A 1000
"""


def test_the_model_of_cpu_counts_and_its_clock_does_not(tmp_path):
    (tmp_path / "one").write_text(CPUINFO.format(mhz=1000))
    (tmp_path / "two").write_text(CPUINFO.format(mhz=2000))
    (tmp_path / "three").write_text(CPUINFO.format(mhz=1000).replace("1000\n", "2000\n"))
    one, two, three = (machine_fingerprint(tmp_path / n) for n in ("one", "two", "three"))
    assert one == two != three
    assert len(one) == 12
    assert machine_words(tmp_path / "one") == "A 1000"


def test_a_system_that_tells_nothing(tmp_path):
    assert machine_words(tmp_path / "none") == platform.machine()
    assert len(machine_fingerprint(tmp_path / "none")) == 12
