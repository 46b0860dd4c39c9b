"""Folders that are damaged or odd: each gives the right answer or one clear line, never a traceback.

`builders` makes them, `outcomes` judges what comes of them; a module of tests for each kind of trouble.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile.builders import write_base

pytest.register_assert_rewrite("hostile.outcomes")  # before the tests import it


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A clean category; each test changes a copy."""
    return write_base(tmp_path_factory.mktemp("hostile") / "parts" / "plate")
