"""The flat public names, whatever was imported before them."""

from __future__ import annotations

import subprocess
import sys

import augment


def test_every_public_name_exists():
    for name in augment.__all__:
        assert getattr(augment, name) is not None
    assert set(augment.__all__) <= set(dir(augment))


def test_a_job_is_a_function_also_after_its_module_was_imported():
    code = "import augment.jobs.fit, augment.jobs.benchmark, augment; assert callable(augment.fit)"
    code += "; assert callable(augment.benchmark)"
    subprocess.run([sys.executable, "-c", code], check=True)
