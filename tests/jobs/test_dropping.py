from __future__ import annotations

import json

import pytest

from augment.errors import WorkspaceError
from augment.jobs.dropping import batches, check_drops
from augment.workspace import Drops, read_drop_list


def test_first_attempts_come_in_whole_batches_in_fixed_places():
    found = list(batches([(1, 0), (2, 0), (9, 0)], 4))
    assert [[slot for slot, _ in batch] for batch in found] == [
        [(0, 0), (1, 0), (2, 0), (3, 0)],
        [(8, 0), (9, 0), (10, 0), (11, 0)],
    ]
    assert [slot for batch in found for slot, is_missing in batch if is_missing] == [(1, 0), (2, 0), (9, 0)]


@pytest.mark.parametrize("size", [1, 3, 4, 8])
def test_later_attempts_share_batches_each_in_its_own_place(size):
    missing = [(0, 1), (4, 2), (5, 1), (11, 3), (12, 1), (7, 0)]
    found = list(batches(missing, size))
    assert all(len(batch) == size for batch in found)
    painted = [slot for batch in found for slot, is_missing in batch if is_missing]
    assert sorted(painted) == sorted(missing)
    for batch in found:
        for place, (slot, is_missing) in enumerate(batch):
            assert not is_missing or slot[0] % size == place
            assert (slot[1] == 0) == (batch[0][0][1] == 0)


def test_drops_count_attempts_and_remember_their_list(tmp_path):
    drops = Drops(tmp_path)
    assert drops.attempt("crack/0001") == 0 and not drops.path.exists()
    drops.record(["crack/0001", "hole/0002", "crack/0001"])
    drops.record(["crack/0001"])
    again = Drops(tmp_path)
    assert (again.attempt("crack/0001"), again.attempt("hole/0002")) == (2, 1)
    assert again.indices("crack") == [1] and again.indices("none") == []
    assert again.was_recorded(["crack/0001"])
    assert not again.was_recorded(["hole/0002", "crack/0001"])
    assert len([json.loads(line) for line in again.path.read_text().splitlines()]) == 3
    again.forget({"crack"})
    assert (again.attempt("crack/0001"), Drops(tmp_path).attempt("crack/0001")) == (0, 0)
    assert Drops(tmp_path).attempt("hole/0002") == 1


def test_a_copy_follows_in_both_directions(tmp_path):
    own, other = Drops(tmp_path / "own"), tmp_path / "other"
    own.copy_to(other)
    assert not other.exists()
    own.record(["crack/0001"])
    own.copy_to(other)
    assert Drops(other).attempt("crack/0001") == 1
    Drops(tmp_path / "none").copy_to(other)
    assert Drops(other).attempt("crack/0001") == 0


def test_a_list_may_have_comments_blank_lines_and_windows_line_ends(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf# bad\r\n\r\ncrack/0001\r\n crack/0002 \r\ncrack/0001\r\n")
    assert read_drop_list(path) == ["crack/0001", "crack/0002"]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        read_drop_list(path)


def test_unknown_images_are_named_the_first_ones_of_many(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"id": "crack/0001", "defect": "crack"}\n')
    check_drops(tmp_path, ["crack/0001"], ["crack"])
    with pytest.raises(WorkspaceError, match=r"crack/0005, crack/0006, crack/0007 and 2 more\."):
        check_drops(tmp_path, ["crack/0001", *(f"crack/000{i}" for i in range(5, 10))], ["crack"])
    with pytest.raises(WorkspaceError, match="does not paint"):
        check_drops(tmp_path, ["crack/0001"], ["hole"])
