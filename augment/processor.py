"""What must be known of the processor before numpy is imported."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

_VARIABLE = "NPY_DISABLE_CPU_FEATURES"
_CPUINFO = Path("/proc/cpuinfo")


def avoid_slow_sort() -> bool:
    """Have numpy sort with AVX2 on AMD's Zen 4, where its AVX-512 sort is six times as slow.

    That sort writes with a masked compress, which Zen 4 does in microcode; scores are mostly one sort. The
    values are the same. Only numpy 2.4 and later, on Linux, and only before numpy is imported; a value that
    the user has set stays.

    Returns:
        Whether the environment was changed.
    """
    if "numpy" in sys.modules or _VARIABLE in os.environ:
        return False
    try:
        text = _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    if not is_zen4(text) or tuple(map(int, version("numpy").split(".")[:2])) < (2, 4):
        return False
    os.environ[_VARIABLE] = "X86_V4"
    return True


def is_zen4(cpuinfo: str) -> bool:
    """Whether a `/proc/cpuinfo` describes a processor of AMD's family 25 with AVX-512."""
    facts = dict(
        map(str.strip, line.split(":", 1)) for line in cpuinfo.split("\n\n")[0].splitlines() if ":" in line
    )
    return (
        facts.get("vendor_id") == "AuthenticAMD"
        and facts.get("cpu family") == "25"
        and "avx512f" in facts.get("flags", "").split()
    )
