"""Files are whole or absent, damage is noticed, the previous file survives."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from l2dynamics.storage import archives

ARRAYS = {"leaf0": np.arange(6.0).reshape(2, 3), "leaf1": np.array(7, np.int32), "empty": np.empty((0, 2))}


def save(path, step, keep=True):
    archives.save(path, {**ARRAYS, "step": np.array(step)}, {"step": step}, keep=keep)


def step_of(path):
    found = archives.load(path)
    return None if found is None else found[1]["step"]


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "run.npz"
    archives.save(path, ARRAYS, {"step": 3, "note": "λ", "seconds": 0.1})
    arrays, meta = archives.load(path)
    assert meta == {"step": 3, "note": "λ", "seconds": 0.1}
    assert set(arrays) == set(ARRAYS)
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype
    assert [p.name for p in path.parent.iterdir()] == ["run.npz"], "no temporary file is left"


def test_every_float_survives_exactly(tmp_path):
    values = np.array([0.1, 1e-308, np.nan, np.inf, -0.0, np.nextafter(1, 2)])
    archives.save(tmp_path / "a", {"x": values}, {})
    assert archives.load(tmp_path / "a")[0]["x"].tobytes() == values.tobytes()


def test_a_missing_file_is_none(tmp_path):
    assert archives.load(tmp_path / "absent") is None


def test_the_previous_file_is_kept_only_when_asked(tmp_path):
    save(tmp_path / "a", 1, keep=False)
    save(tmp_path / "a", 2, keep=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    save(tmp_path / "a", 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a.previous"]
    assert step_of(tmp_path / "a") == 3
    (tmp_path / "a").unlink()
    assert step_of(tmp_path / "a") == 2, "killed between the two renames"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:40],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: b"\0" * len(content),
        lambda content: content + b"more",
    ],
    ids=["empty", "header", "half", "last byte", "one bit", "zeros", "longer"],
)
def test_damage_falls_back_to_the_previous_file(tmp_path, damage, caplog):
    path = tmp_path / "a"
    save(path, 1)
    save(path, 2)
    path.write_bytes(damage(path.read_bytes()))
    assert step_of(path) == 1
    assert "a is damaged" in caplog.text
    previous = tmp_path / "a.previous"
    previous.write_bytes(damage(previous.read_bytes()))
    assert archives.load(path) is None


def test_a_file_of_another_kind_is_not_used(tmp_path):
    import hashlib

    content = b"right checksum, no archive"
    (tmp_path / "a").write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert archives.load(tmp_path / "a") is None


def test_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        archives.save(tmp_path / "a", {"x": np.array([object()])}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["open", "write", "fsync", "replace"])
def test_a_full_disk_is_one_clear_error_and_leaves_the_previous_file(tmp_path, monkeypatch, where):
    path = tmp_path / "a"
    save(path, 1)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        if where == "open":
            context.setattr(Path, "open", full)
        elif where == "write":

            class Disk:
                def __init__(self, file):
                    self.file = file

                def __enter__(self):
                    return self

                def __exit__(self, *args):
                    self.file.close()

                def write(self, content):
                    self.file.write(content[:10])
                    full()

            opened = Path.open
            context.setattr(Path, "open", lambda self, mode: Disk(opened(self, mode)))
        elif where == "fsync":
            context.setattr(os, "fsync", full)
        else:
            context.setattr(Path, "replace", full)
        with pytest.raises(OSError, match=r"cannot write.*what was saved before is intact.*a") as raised:
            save(path, 2)
    assert raised.value.errno == errno.ENOSPC
    assert "\n" not in str(raised.value)
    assert step_of(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    save(path, 3)
    assert step_of(path) == 3


def test_remove_takes_both_files_and_minds_no_absence(tmp_path):
    path = tmp_path / "a"
    archives.remove(path)
    save(path, 1)
    save(path, 2)
    archives.remove(path)
    assert list(tmp_path.iterdir()) == []
