from __future__ import annotations

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
