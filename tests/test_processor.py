"""numpy's slow sort is avoided where it is slow, and only there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from augment import processor

ZEN4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: fpu avx2 avx512f avx512vl\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (ZEN4, True),
        (ZEN4 + "\nvendor_id\t: AuthenticAMD\n", True),
        (ZEN4.replace(" avx512f avx512vl", ""), False),  # Zen 3
        (ZEN4.replace(": 25", ": 26"), False),  # Zen 5 has no slow compress
        (ZEN4.replace("AuthenticAMD", "GenuineIntel"), False),
        ("", False),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n", False),
    ],
)
def test_which_processors_have_the_slow_sort(cpuinfo, expected):
    assert processor.is_zen4(cpuinfo) is expected


def in_new_process(tmp_path, cpuinfo: str, before: str = "") -> str:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    code = f"""{before}
import os, pathlib, sys
from augment import processor
processor._CPUINFO = pathlib.Path({str(path)!r})
changed = processor.avoid_slow_sort()
import numpy
assert (numpy.sort(numpy.float32([3, 1, 2] * 100))[::100] == [1, 2, 3]).all()
print(changed, os.environ.get("NPY_DISABLE_CPU_FEATURES"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_environment_is_changed_once_before_numpy_and_never_against_the_user(tmp_path):
    assert in_new_process(tmp_path, ZEN4) == "True X86_V4"
    assert in_new_process(tmp_path, "") == "False None"
    assert in_new_process(tmp_path, ZEN4, "import numpy") == "False None"
    user = "import os; os.environ['NPY_DISABLE_CPU_FEATURES'] = ''"
    assert in_new_process(tmp_path, ZEN4, user) == "False"
