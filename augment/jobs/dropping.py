"""Images of a synthetic set that were looked at and not liked: taken out, and painted again differently."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.errors import WorkspaceError
from augment.workspace import Drops, Manifest, Run, atomic_write_text, writing

_NAMED = 3  # unknown ids in a message

Slot = tuple[int, int]  # number of an image, and which attempt at it


def check_drops(folder: Path, ids: Sequence[str], defects: Collection[str]) -> None:
    """Refuse a drop list that does not fit a set; nothing is changed.

    Args:
        folder: the run folder of the set.
        ids: images, as `crack/0007`.
        defects: those that are to be painted.

    Raises:
        WorkspaceError: an id is not in the set, or is of another defect.
    """
    manifest, drops = Manifest(folder / "manifest.jsonl"), Drops(folder)
    unknown = [name for name in ids if name not in manifest and name not in drops]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise WorkspaceError(
            f"{folder} holds no image {', '.join(unknown[:_NAMED])}{more}. Correct the drop list; "
            "nothing was changed."
        )
    others = sorted({name.rpartition("/")[0] for name in ids} - set(defects))
    if others:
        raise WorkspaceError(
            f"The drop list names images of {', '.join(others)}, which this command does not paint. Name "
            "that target too; nothing was changed."
        )


def drop_images(run: Run, ids: Sequence[str]) -> None:
    """Record that other attempts at some images are wanted, and take them out of the set.

    The same list again, before all of it is painted, is the same command going on: nothing is added.

    Args:
        run: of the set.
        ids: images of it.
    """
    drops, manifest = Drops(run.folder), Manifest(run.folder / "manifest.jsonl")
    painted = {e["id"]: e.get("attempt", 0) for e in manifest.entries() if is_wanted(e, drops)}
    goes_on = drops.was_recorded(ids) and (not run.done or not painted.keys() >= set(ids))
    if not goes_on:
        run.reopen()
        drops.record(ids, painted)
    remove_images(run.folder, lambda entry: is_wanted(entry, drops))


def is_wanted(entry: Mapping[str, Any], drops: Drops) -> bool:
    """Whether an image is of the attempt that is wanted, or the first after it that passed the filter."""
    tried = [failed["attempt"] for failed in entry.get("rejected", ())]
    return min([entry.get("attempt", 0), *tried]) == drops.attempt(entry["id"])


def remove_images(folder: Path, is_kept: Callable[[Mapping[str, Any]], bool]) -> None:
    """Take images out of a set: their files, then their lines in the manifest.

    In this order an interrupted removal is known to be one: what has a line and no file is painted anew.
    """
    manifest = Manifest(folder / "manifest.jsonl")
    entries = manifest.entries()
    removed = [entry for entry in entries if not is_kept(entry)]
    if not removed:
        return
    with writing(folder):
        for entry in removed:
            for part in ("image", "mask"):
                (folder / entry[part]).unlink(missing_ok=True)
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries if is_kept(entry)]
    atomic_write_text(manifest.path, "".join(lines))


def batches(missing: Sequence[Slot], size: int) -> Iterator[list[tuple[Slot, bool]]]:
    """Arrange what is to be painted in batches of one size, so that no image depends on what else is missing.

    First attempts come in whole batches in fixed places. Later ones, of which there are few, share batches,
    each in the place its number gives it; a place left over is filled with one of the others.

    Args:
        missing: numbers and attempts.
        size: images a batch.

    Yields:
        `size` slots, each with whether it is one of the missing.
    """
    wanted = set(missing)
    for start in sorted({index // size * size for index, attempt in wanted if attempt == 0}):
        yield [((index, 0), (index, 0) in wanted) for index in range(start, start + size)]
    again = sorted(slot for slot in wanted if slot[1] > 0)
    while again:
        placed: dict[int, Slot] = {}
        for slot in again:
            placed.setdefault(slot[0] % size, slot)
        yield [(placed.get(place, again[0]), place in placed) for place in range(size)]
        again = [slot for slot in again if placed[slot[0] % size] != slot]
