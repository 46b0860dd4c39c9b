"""A few rounds of benchmarks/kill_resume.py; AUGMENT_TEST_KILLS asks for more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kill_resume.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks, which Windows cannot")
def test_what_is_killed_resumes_to_the_same_bytes():
    kills = os.environ.get("AUGMENT_TEST_KILLS", "5")
    command = [sys.executable, str(SCRIPT), "--kills", kills]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{kills} stops in" in result.stdout and "0 differences" in result.stdout
