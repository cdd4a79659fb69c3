"""The table of the public benchmarks, from bundles and evaluations of real trainings."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
from rich.console import Console

from tactful_training.config.config_schema import Config
from tactful_training.data.public.published_results import lines
from tactful_training.training_run import train


def tactful(*arguments: str) -> str:
    command = [sys.executable, "-m", "tactful.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_seeds_are_averaged_and_each_is_told(
    workplace: Path, make_config: Callable[..., Config], data_set_writer: Callable[..., Path]
) -> None:
    choice = random.Random(4)
    rows = {
        split: [
            {
                "id": f"{split}{number}",
                "reply": " ".join(["the page", *["q" * 3] * joy, *["z" * 3] * fear]),
                "labels": {"emotions": ["joy"] * joy + ["fear"] * fear},
            }
            for number, (joy, fear) in enumerate(choices)
        ]
        for split in ("train", "validation", "test")
        if (choices := [(choice.random() < 0.5, choice.random() < 0.3) for _ in range(40)])
    }
    tasks = [{"name": "emotions", "kind": "multilabel", "labels": {"joy": "", "fear": ""}}]
    data = data_set_writer(workplace / "data", rows, tasks)
    os.mkdir("benchmarks")
    for seed in (1, 2):
        name = f"goemotions-{seed}"
        config = make_config(
            data__folder=str(data), seed=seed, name=name, tracking__register_model="false"
        )
        train(config, Path("models") / name, console=Console(file=io.StringIO()))
        found = tactful("evaluate", "--bundle", f"models/{name}", "--data", str(data), "--json")
        Path("benchmarks", f"{name}.json").write_text(found)
    shutil.copy("benchmarks/goemotions-1.json", "benchmarks/other.json")  # of another set

    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines(Path())]

    assert table[0] == ["result", "figure", "as it ships", "fp32"]
    assert {row[0] for row in table[2:]} == {"goemotions"}
    shown = {row[1]: row[2:] for row in table[2:]}
    values = [
        json.loads(Path(f"benchmarks/goemotions-{seed}.json").read_text())["emotions"]["micro_f1"][
            "value"
        ]
        for seed in (1, 2)
    ]
    micro, _ = shown["emotions/micro_f1"]
    assert micro.startswith(f"{mean(values):.3f} ± ")
    assert micro.endswith(f"({values[0]:.3f}, {values[1]:.3f})")
    assert "emotions/macro_f1_all" in shown
    assert all(shown[unit][1] for unit in ("MB", "replies/s"))


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make benchmarks"):
        list(lines(tmp_path))
