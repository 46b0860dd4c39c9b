"""Two processes on one run folder: real ones, of which one waits where a test wants it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from augment.cli import main
from augment.errors import WorkspaceError
from augment.workspace import Workspace, locked

HOLD = """
import sys
from pathlib import Path
from augment.workspace import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Starts processes that hold a folder until they are killed or told to end."""
    processes = []

    def start(folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_second_is_told_who_holds_it(tmp_path, hold):
    other = hold(tmp_path / "run")
    with pytest.raises(WorkspaceError) as caught, locked(tmp_path / "run"):
        raise AssertionError("both hold it")
    for words in (str(tmp_path / "run"), f"process {other.pid} on {socket.gethostname()}", "Wait"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with locked(tmp_path / "another run"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGKILL")
def test_a_killed_process_leaves_no_lock(tmp_path, hold):
    other = hold(tmp_path / "run")
    other.send_signal(signal.SIGKILL)
    other.wait()
    own = pytest.raises(WorkspaceError, match=f"process {os.getpid()} ")
    with locked(tmp_path / "run"), own, locked(tmp_path / "run"):
        pass


def test_what_is_held_is_free_again_after_an_end_or_an_error(tmp_path, hold):
    other = hold(tmp_path / "run")
    other.communicate()
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "run"):
        raise KeyboardInterrupt
    with locked(tmp_path / "run"):
        pass
    if os.name != "nt":
        assert list(tmp_path.iterdir()) == []


def test_of_many_at_once_one_at_a_time_gets_in(tmp_path):
    """Processes that take and leave the lock over and over, and count in a file what they did alone."""
    code = """
import sys, time
from pathlib import Path
from augment.errors import WorkspaceError
from augment.workspace import locked
folder, counter, done = Path(sys.argv[1]), Path(sys.argv[2]), 0
while done < 40:
    try:
        with locked(folder):
            number = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(number + 1))
            done += 1
    except WorkspaceError:
        pass
"""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(counter)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "120"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other locks")
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    import errno
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "run"):
        pass
    assert "cannot be locked" in caplog.text and str(tmp_path / "run") in caplog.text


@pytest.mark.parametrize("command", ["fit", "adapt", "synthesize", "pretrain"])
def test_a_command_says_who_holds_its_run(tmp_path, hold, small_category, small_backbone, command):
    workspace = Workspace(tmp_path / "runs")
    target = ("fit", small_category / "spot", "--recipe", "tiny", "--workspace", workspace.root)
    target += ("--set", f"backbone.model={small_backbone}", "--set", "backbone.resolution=64")
    target += ("--set", "window.minimum=64", "--set", "fit.method=cutpaste", "--device", "cpu")
    folder, words = {
        "fit": (workspace.fit_folder("parts/washer/spot", 0), target),
        "adapt": (
            workspace.adapted_folder("parts/washer"),
            (*target, "--set", "fit.method=disentangled_inversion", "--set", "adapt.steps=1"),
        ),
        "synthesize": (
            workspace.synthetic_folder("parts/washer", 0),
            ("synthesize", "-n", 1, "--workspace", workspace.root, "--device", "cpu"),
        ),
        "pretrain": (tmp_path / "model" / "work", ("pretrain", tmp_path / "model", "--device", "cpu")),
    }[command]
    if command == "synthesize":
        result = CliRunner().invoke(main, list(map(str, target)))
        assert result.exit_code == 0, result.output
    other = hold(folder)
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and f"process {other.pid} on" in lines[0] and str(folder) in lines[0]
    assert not folder.exists()
    if command == "synthesize":
        other.communicate()
        assert CliRunner().invoke(main, list(map(str, words))).exit_code == 0


def test_what_is_done_is_not_held(tmp_path, hold, small_category, small_backbone):
    """A finished fit is skipped whoever works beside it."""
    root = tmp_path / "runs"
    words = ("--recipe", "tiny", "--workspace", root, "--set", f"backbone.model={small_backbone}")
    words += ("--set", "backbone.resolution=64", "--set", "window.minimum=64", "--set", "fit.method=cutpaste")
    command = list(map(str, ("fit", small_category / "spot", *words, "--device", "cpu", "--json")))
    assert CliRunner().invoke(main, command).exit_code == 0
    hold(Workspace(root).fit_folder("parts/washer/spot", 0))
    assert '"skipped": true' in CliRunner().invoke(main, command).stdout
