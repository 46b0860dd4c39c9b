"""The layering of the package, read from the syntax tree of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "augment"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

# A room (a module or sub-package of `augment`) may import itself and rooms of lower rank.
RANKS = {
    "errors": 0,
    "functional": 0,
    "processor": 0,
    "progress": 0,
    "registry": 1,
    "resources": 1,
    "recipe": 2,
    "memory": 3,
    "workspace": 3,
    "data": 4,
    "metrics": 4,
    "render": 5,
    "report": 4,
    "devices": 4,
    "training": 4,
    "backbones": 5,
    "detectors": 6,
    "methods": 6,
    "jobs": 7,
    "listing": 9,
    "plan": 9,
    "cli": 10,
    "__main__": 11,
}
LIGHT = {
    "cli", "data", "errors", "listing", "memory", "plan",
    "processor", "progress", "recipe", "registry", "report", "resources", "workspace",
}  # fmt: skip
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "anomalib", "accelerate", "peft"}


def room_of(module: str) -> str:
    return module.split(".")[1]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(nodes) -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module)
    return names


def test_every_room_has_a_rank():
    rooms = {room_of(name_of(path)) for path in MODULES}
    assert rooms <= RANKS.keys()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    room = room_of(name_of(path))
    names = {name for name in imported(ast.walk(ast.parse(path.read_text()))) if name.startswith("augment.")}
    upwards = {name for name in names if room_of(name) != room and RANKS[room_of(name)] >= RANKS[room]}
    assert not upwards


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != PACKAGE / "detectors" / "anomalib.py"], ids=name_of
)
def test_anomalib_is_imported_in_one_file_only(path):
    assert "anomalib" not in {name.split(".")[0] for name in imported(ast.walk(ast.parse(path.read_text())))}


def test_methods_import_of_each_other_only_their_base():
    for path in (PACKAGE / "methods").glob("*.py"):
        names = imported(ast.walk(ast.parse(path.read_text())))
        assert {name for name in names if name.startswith("augment.methods.")} <= {"augment.methods.base"}


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(name_of(p)) in LIGHT], ids=name_of)
def test_light_modules_import_nothing_heavy_at_their_top(path):
    body = imported(ast.parse(path.read_text()).body)
    assert not {name.split(".")[0] for name in body} & HEAVY


@pytest.mark.parametrize(
    "code",
    [
        "import augment",
        "from augment.cli import main; main(['--help'], standalone_mode=False)",
        "from augment.cli import main; main(['fit', '--help'], standalone_mode=False)",
        "from augment.cli import main; main(['list', 'recipes'], standalone_mode=False)",
        "from augment.cli import main; main(['list', 'detectors'], standalone_mode=False)",
        "from augment.cli import main; main(['list', 'runs'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_loaded_before_a_job_runs(code, tmp_path):
    check = f"{code}; import sys; sys.exit(' '.join(sys.modules.keys() & {HEAVY!r}) or None)"
    run = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_public_names_resolve_and_others_do_not():
    import augment

    assert augment.load_recipe().name == "tiny"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = augment.no_such_name
