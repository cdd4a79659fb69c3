from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tactful_training.fitting.checkpoints import last_complete, saving


def write_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    for size in (100, 100 + step):  # saved twice, as may happen at the end of an epoch
        with saving(checkpoint):
            checkpoint.mkdir(parents=True, exist_ok=True)
            for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
                (checkpoint / name).write_bytes(b"x" * size)
    return checkpoint


def test_the_newest_by_number_is_taken(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "nowhere") is None
    for step in (90, 100, 9):
        write_checkpoint(tmp_path, step)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-100"


@pytest.mark.parametrize("damage", ["unmarked", "truncated", "deleted", "garbled", "empty"])
def test_half_a_checkpoint_is_passed_over_and_removed(tmp_path: Path, damage: str) -> None:
    whole = write_checkpoint(tmp_path, 10)
    half = write_checkpoint(tmp_path, 20)
    if damage == "unmarked":
        (half / "complete.json").unlink()
    elif damage == "truncated":
        (half / "optimizer.pt").write_bytes(b"x")
    elif damage == "deleted":
        (half / "model.safetensors").unlink()
    elif damage == "garbled":
        (half / "complete.json").write_bytes(b'{"model.sa')
    else:
        for path in half.iterdir():
            path.unlink()
    assert last_complete(tmp_path) == whole
    assert not half.exists()


def test_a_save_that_fails_leaves_no_mark(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path, 10)
    with pytest.raises(KeyboardInterrupt), saving(whole):
        raise KeyboardInterrupt
    assert last_complete(tmp_path) is None


PROGRAM = """
import tactful_training.registry.promotion
from tactful_training.errors import RunError
from tactful_training.fitting.resuming import open_work_folder

with open_work_folder({"config": "x"}) as work:
    work.state.tracked_epochs = 3
    work.save()
    try:
        with open_work_folder({"config": "x"}):
            pass
    except RunError as error:
        print(error)
with open_work_folder({"config": "x"}) as work:
    print(work.resumed, work.state.tracked_epochs)
    work.clear()
"""


def test_a_work_folder_is_locked_kept_and_removed_without_fcntl(
    tmp_path: Path, without_fcntl: Callable[..., list[str]]
) -> None:
    refused, resumed = without_fcntl(PROGRAM, cwd=tmp_path)
    assert "is already running in runs" in refused
    assert resumed == "True 3"
    assert list(tmp_path.iterdir()) == []
