"""Stops `augment fit` and `augment synthesize` at random moments, and compares all bytes they end with.

    python benchmarks/kill_resume.py --kills 30

A small rendered category is fitted and painted without a break, on a small random backbone. Then again, with
and without --force, each stopped up to three times before it may run to its end: two times in three by
SIGKILL, else by SIGINT (Ctrl-C); in turn at a random time and right before a random change to the workspace
(a file opened for writing, renamed or removed), where a time seldom falls. After each stop every file under
its own name must be whole; at the end all must be those of the unbroken run, and no others. Only this may
differ: in run.json, when a run was begun and finished, and the seconds it took; there and in manifests the
commit, should one be made meanwhile; and lock files, which mean nothing once their process is gone. Exits
with 1 where anything else does.

The processes are real, but are forked from this one, which has the libraries loaded: that takes longer than
the work. Needs Unix.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import albumentations  # noqa: F401
import diffusers
import safetensors
import torch
import transformers
from PIL import Image

import augment.jobs.fit
import augment.jobs.synthesize  # noqa: F401
from augment.backbones.build import build_backbone, save_backbone
from augment.cli import main as command_line
from augment.recipe import PretrainConfig
from augment.render.sample import CATEGORIES, render_dataset

MAY_DIFFER = ("created", "finished", "seconds", "revision")  # of a run.json
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}  # audit events
SETTINGS = {
    "backbone.resolution": 64,
    "window.minimum": 64,
    "adapt.steps": 3,
    "adapt.batch_size": 1,
    "adapt.images": 2,
    "adapt.windows_per_image": 1,
    "fit.steps": 6,
    "fit.checkpoint_every": 2,
    "fit.batch_size": 1,
    "fit.normal_batch_size": 1,
    "fit.normal_images": 2,
    "fit.windows_per_image": 1,
    "synthesize.num_inference_steps": 2,
    "synthesize.batch_size": 2,
}


class Stopped(Exception):
    """The process was stopped before its end."""


@dataclass(frozen=True)
class Stop:
    """When a process is stopped, and how: after some seconds, or before its n-th change to the workspace."""

    signal: signal.Signals
    seconds: float | None = None
    change: int | None = None

    def __str__(self) -> str:
        when = f"{self.seconds:.2f} s" if self.change is None else f"change {self.change}"
        return f"{self.signal.name} at {when}"


class Jobs:
    """Runs the commands in processes of their own.

    Args:
        folder: holds `data` and `backbone`, which are made here, and everything else.
    """

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log.txt"
        self.category = folder / "data" / next(iter(CATEGORIES))
        self.defect = self.category / CATEGORIES[self.category.name].defects[0]
        self._run(lambda: _make(folder))

    def command(self, name: str, workspace: Path) -> list[str]:
        """A command line."""
        target = ["--workspace", str(workspace), "--device", "cpu"]
        if name.startswith("synthesize"):
            of = [str(self.defect), "--force"] if name.endswith("--force") else []
            return ["synthesize", "-n", "3", *of, *target]
        values = {"backbone.model": self.folder / "backbone", **SETTINGS}
        settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        return [*name.split(), str(self.category), "--recipe", "tiny", *settings, *target]

    def run(self, name: str, workspace: Path, stop: Stop | None = None) -> None:
        """Run a command, to its end or to a stop.

        Raises:
            Stopped: it was, before its end.
        """

        def job() -> None:
            if stop is not None and stop.change is not None:
                _watch(workspace, stop)
            command_line(self.command(name, workspace), prog_name="augment")

        self._run(job, stop, workspace.with_name(f"{workspace.name}-cache"))

    def changes(self, name: str, workspace: Path) -> int:
        """Run a command to its end and count its changes to the workspace."""
        count = self.folder / "changes"

        def job() -> None:
            seen = _watch(workspace)
            try:
                command_line(self.command(name, workspace), prog_name="augment")
            finally:
                count.write_text(str(len(seen)))

        self._run(job, cache=workspace.with_name(f"{workspace.name}-cache"))
        return int(count.read_text())

    def _run(self, job: Callable[[], None], stop: Stop | None = None, cache: Path | None = None) -> None:
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            os.environ["AUGMENT_CACHE"] = str(cache)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = 1
            try:
                job()
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        if stop is not None and stop.seconds is not None:
            time.sleep(stop.seconds)
            os.kill(process, stop.signal)
        status = os.waitpid(process, 0)[1]
        said = self.log.read_text()
        if stop is not None:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                raise Stopped
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 130 and "Traceback" not in said:
                raise Stopped
        if status:
            raise SystemExit(f"a command failed ({status}): {said}")


def _make(folder: Path) -> None:
    """The data set and the backbone; here, so that the process that is forked has no threads of torch's."""
    name = next(iter(CATEGORIES))
    render_dataset(folder / "data", {name: CATEGORIES[name]}, n_train=4, n_good=2, n_defect=4, size=72)
    config = PretrainConfig(latent_channels=4, block_channels=(16, 32), text_width=32)
    texts = ["a photo of a bottle with sks chipped", "a photo of a bottle"]
    backbone = build_backbone(config, texts, resolution=64, device=torch.device("cpu"))
    backbone.autoencoder.fit_components(torch.rand(8, 3, 64, 64) * 2 - 1)
    save_backbone(backbone, folder / "backbone")


def _watch(workspace: Path, stop: Stop | None = None) -> list[str]:
    """From now on note this process's changes to the workspace; stop it before one of them."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event not in CHANGES or not str(arguments[0]).startswith(str(workspace)):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        seen.append(event)
        if stop is not None and len(seen) == stop.change:
            os.kill(os.getpid(), stop.signal)

    sys.addaudithook(hook)
    return seen


def tree(workspace: Path) -> dict[str, bytes | dict]:
    """Relative path -> content of every file; of a run.json what may not differ."""
    found: dict[str, bytes | dict] = {}
    for path in sorted(workspace.rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            content: bytes | dict = path.read_bytes()
            if path.name == "run.json":
                record = json.loads(content)
                content = {key: value for key, value in record.items() if key not in MAY_DIFFER}
            elif path.name == "manifest.jsonl":
                content = re.sub(rb'"revision": ("[^"]*"|null)', b'"revision": null', content)
            found[path.relative_to(workspace).as_posix()] = content
    return found


def damaged(workspace: Path) -> list[str]:
    """Files under their own names that are not whole."""
    bad = []
    for path in workspace.rglob("*"):
        try:
            if path.name.startswith("."):
                continue
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix == ".pt":
                torch.load(path, weights_only=True)
            elif path.suffix == ".safetensors":
                with safetensors.safe_open(path, "pt") as file:
                    file.keys()
        except Exception as error:
            bad.append(f"{path}: {error}")
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    _ = diffusers.UNet2DConditionModel, transformers.CLIPTextModel  # load them before the first fork
    with tempfile.TemporaryDirectory() as folder:
        wrong = run_trials(Path(folder), options.kills, random.Random(options.seed))
    raise SystemExit(1 if wrong else 0)


def run_trials(folder: Path, kills: int, chance: random.Random) -> list[str]:
    """Stop and resume until that many stops are made; what was wrong."""
    jobs, whole = Jobs(folder), folder / "unbroken"
    names = ("fit", "synthesize", "fit --force", "synthesize --force")
    changes, seconds, goals = {}, {}, {}
    for name in names:
        started = time.monotonic()
        changes[name] = jobs.changes(name, whole)
        seconds[name] = time.monotonic() - started
        goals[name] = tree(whole)
    goals["fit --force"] = goals["synthesize --force"]  # both start from all of this
    first, last = (_sorted(goals[name]) for name in ("synthesize", "synthesize --force"))
    wrong = [f"--force changed it: {line}" for line in _differences(last, first)]
    print("; ".join(f"{n}: {changes[n]} changes in {seconds[n]:.1f} s" for n in names), flush=True)
    made = trial = early = 0
    while made < kills:
        name, workspace = names[trial % 4], folder / f"trial{trial}"
        if name == "synthesize":
            for part in ("adapted", "fits"):
                shutil.copytree(whole / part, workspace / part)
        elif name != "fit":
            shutil.copytree(whole, workspace)
        stops = []
        for _ in range(min(1 + trial % 3, kills - made)):
            how = signal.SIGINT if made % 3 == 2 else signal.SIGKILL
            if (made + trial) % 2:
                stop = Stop(how, seconds=chance.uniform(0.05, seconds[name]))
            else:
                stop = Stop(how, change=chance.randint(1, changes[name]))
            try:
                jobs.run(name, workspace, stop)
                early += 1  # it had ended before
                break
            except Stopped:
                made += 1
                stops.append(str(stop))
                wrong += [f"{name}, {', '.join(stops)}: damaged {line}" for line in damaged(workspace)]
        jobs.run(name, workspace)
        found = _differences(tree(workspace), goals[name])
        wrong += [f"{name}, {', '.join(stops)}: {line}" for line in found]
        how_often = ", ".join(stops) or "not stopped"
        print(f"{made}/{kills} {name}, {how_often}: {found or 'same bytes'}", flush=True)
        shutil.rmtree(workspace)
        trial += 1
    print(f"{made} stops in {trial} runs ({early} ended before theirs), {len(wrong)} differences")
    for line in wrong:
        print(line)
    return wrong


def _sorted(found: dict) -> dict:
    """With the lines of manifests sorted: they are in the order of painting, which --force changes."""
    return {
        path: sorted(content.splitlines()) if path.endswith(".jsonl") else content
        for path, content in found.items()
    }


def _differences(found: dict, expected: dict) -> list[str]:
    """Which files are missing, surplus or other."""
    return [
        f"{path} is {'surplus' if path not in expected else 'missing' if path not in found else 'other'}"
        for path in sorted(found.keys() | expected.keys())
        if found.get(path) != expected.get(path)
    ]


if __name__ == "__main__":
    main()
