"""What becomes of a hostile folder, and what must.

All public readers and, in this process, `augment check` and `augment fit --dry-run` are pointed at it.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from hostile.builders import Case

from augment.cli import main
from augment.data.check import check_category, inspect_category
from augment.data.images import (
    file_sha256,
    image_kind,
    image_size,
    is_plain_png,
    list_images,
    read_image,
    read_mask,
    read_sample,
)
from augment.data.layouts import read_category
from augment.data.targets import resolve_folders, resolve_targets
from augment.errors import AugmentError


@dataclass(frozen=True)
class Outcome:
    """What came of one call: a value, an AugmentError's text, or another exception."""

    value: Any = None
    line: str | None = None
    crash: BaseException | None = None


def attempt(call: Callable[[], Any]) -> Outcome:
    """Call it; what it says beside its answer (a warning of Pillow's) counts as a crash."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Outcome(value=call())
    except AugmentError as error:
        return Outcome(line=str(error))
    except Exception as error:
        return Outcome(crash=error)


def read_everything(root: Path) -> list:
    """Every image and mask of a category, as a fit reads them."""
    category = read_category(root, "parts")
    samples = [*category.train_good, *category.test_good, *category.anomalous]
    return [read_sample(sample) for sample in samples]


def outcomes(case: Case, root: Path) -> dict[str, Outcome]:
    """What each reader and command makes of a case."""
    path = root / case.path
    readers = {
        read.__name__: lambda read=read: read(path)
        for read in (read_image, read_mask, image_size, image_kind, is_plain_png, file_sha256)
    }
    target = f"{root}/{case.target}"
    found = {name: attempt(read) for name, read in readers.items()}
    found["list_images"] = attempt(lambda: list_images(path.parent) if path.parent.is_dir() else [])
    found["read_category"] = attempt(lambda: read_everything(root))
    found["resolve_targets"] = attempt(lambda: resolve_targets([target], None))
    found["check_category"] = attempt(
        lambda: [check_category(inspect_category(folder)) for folder in resolve_folders([target], None)]
    )
    for name, options in (("check", ()), ("fit", ("--recipe", "tiny", "--dry-run"))):
        found[f"augment {name}"] = attempt(lambda words=(name, target, *options): run(*words))
    return found


def run(*words: str) -> Any:
    """Run a command in this process; raises what it crashed with."""
    result = CliRunner().invoke(main, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output and "Warning:" not in result.stderr
    return result


def assert_handled(case: Case, base: Path, folder: Path) -> None:
    """Assert that a case, made in a copy of the clean category, gives the right answer or one line."""
    root = shutil.copytree(base, folder / "parts" / "plate")
    case.make(root)
    verdict(case, outcomes(case, root), root)


def verdict(case: Case, found: dict[str, Outcome], root: Path) -> None:
    """Assert that a case came out as it must."""
    for name, outcome in found.items():
        assert outcome.crash is None, f"{name}: {outcome.crash!r}"
        assert outcome.line is None or outcome.line.strip()
    check, fit = found["augment check"].value, found["augment fit"].value
    findings = check.stdout.partition("\n\n")[2].splitlines() + check.stderr.splitlines()
    assert all(line.lower().startswith(("error: ", "warning: ", "note: ", "nothing to")) for line in findings)
    errors = [line for line in findings if line.lower().startswith("error: ")]
    assert check.exit_code == (1 if errors else 0), check.output
    assert fit.exit_code in (0, 1)
    if fit.exit_code == 1:
        (line,) = fit.stderr.strip().splitlines()
        assert line.startswith("Error: ") and fit.stdout == ""
        assert errors, f"check passes what fit stops at: {line}"
    for words in case.check:
        assert words in check.output
    size, image = found["image_size"].value, found["read_image"].value
    if size is not None and image is not None:
        assert image.shape[:2] == size == found["image_kind"].value.shape

    stem = Path(case.path).stem
    if case.result == "right":
        assert found["read_category"].line is None and fit.exit_code == 0, fit.output
        assert not errors
        assert_close(image, case.pixels)
        if case.mask is not None:
            samples = read_category(root, "parts").defects["spot"]
            (sample,) = [one for one in samples if one.image.name.startswith("001")]
            assert np.array_equal(read_sample(sample)[1], case.mask)
    elif case.result == "line":
        lines = [found[name].line for name in ("resolve_targets", "read_category")] + [fit.stderr.strip()]
        lines = [" ".join(line.split()) for line in lines if line]
        assert lines and all(words in lines[0] for words in case.words), lines
        assert any(word in line for line in errors for word in (stem, *case.words)), errors
    else:
        assert all(stem in outcome.line for outcome in found.values() if outcome.line is not None)
        if case.pixels is not None and image is not None:
            assert np.array_equal(image, case.pixels)
        if case.mask is not None and found["read_mask"].value is not None:
            assert np.array_equal(found["read_mask"].value, case.mask)


def assert_close(image: np.ndarray | None, pixels: np.ndarray | None) -> None:
    if pixels is not None:
        assert image is not None and image.shape == pixels.shape
        assert np.abs(image.astype(int) - pixels).max() <= 1  # 16 bit are rounded
