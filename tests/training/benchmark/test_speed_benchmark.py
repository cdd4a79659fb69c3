from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import typer
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from tactful.bundle.loading import Bundle
from tactful.bundle.writing import write_archive
from tactful_training.benchmark import speed_benchmark
from tactful_training.benchmark.benchmark_report import plot, render, to_json
from tactful_training.benchmark.compared_systems import PYTORCH, Setting, SystemProcess
from tactful_training.benchmark.operator_costs import (
    operations_per_token,
    peak,
    profile,
    render_profile,
)
from tactful_training.benchmark.speed_benchmark import (
    Benchmark,
    SystemResult,
    evenly_spread,
    import_seconds,
    installed_bytes,
)
from tactful_training.bundling.fusion import fuse
from tactful_training.bundling.quantisation import quantise
from tactful_training.commands.benchmark import benchmark as benchmark_command
from tactful_training.config.config_schema import Config
from tactful_training.errors import RunError
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.training_inputs import load_training_inputs


@pytest.fixture
def result() -> Benchmark:
    def system(rate: float, share: float, quality: float | None = None) -> SystemResult:
        return SystemResult(
            rates=(rate, 2 * rate, rate / 2),
            tokens_per_second=100 * rate,
            latencies=tuple(n / rate for n in range(1, 101)),
            cpu_seconds=1.5 / rate,
            single_cpu_seconds=2 / rate,
            peak_bytes=150_000_000,
            load_seconds=0.4,
            peak_share=share,
            quality=quality,
        )

    return Benchmark(
        bundle="tactful@0123456789ab",
        replies=320,
        tokens=32_000,
        threads=2,
        systems={
            "tactful": system(200.0, 0.45, 0.875),
            PYTORCH: system(25.0, 0.31),
            "tactful, small": system(400.0, 0.4, 0.861),
        },
        peaks={"fp32": 3e11, "int8": 9e11},
        import_seconds=0.21,
        installed={"base": 150_000_000, "train": 1_500_000_000},
        left_out={"OpenVINO": "not installed: openvino"},
    )


def test_the_table_says_how_many_times_faster(result: Benchmark) -> None:
    shown = io.StringIO()
    Console(file=shown, width=200).print(render(result))
    text = shown.getvalue()
    for part in ("tactful@0123456789ab", "200.0", " 8.0", "16.0", "45%", "0.875", "252.5", "7.50"):
        assert part in text
    for part in ("int8 900 G/s", "0.21 s", "left out: OpenVINO (not installed: openvino)"):
        assert part in text
    assert "base 150 MB, train 1500 MB" in text
    assert "320 replies of 100 tokens" in text


def test_rows_are_taken_from_all_over() -> None:
    assert evenly_spread(range(10), 4) == [0, 2, 5, 7]
    assert evenly_spread("abc", 20) == ["a", "b", "c"]
    assert evenly_spread([], 3) == []


def test_json_holds_every_round(result: Benchmark) -> None:
    content = to_json(result)
    ours = content["systems"]["tactful"]
    assert ours["replies_per_second"] == 200
    assert ours["replies_per_second_rounds"] == [200, 400, 100]
    assert ours["single_reply_seconds"]["p50"] == pytest.approx(0.2525)
    assert ours["cpu_seconds_per_reply"] == 0.0075
    assert ours["rate_to_pytorch"] == ours["single_reply_to_pytorch"] == 8
    assert (ours["micro_f1"], content["systems"][PYTORCH]["micro_f1"]) == (0.875, None)
    assert content["left_out"] == {"OpenVINO": "not installed: openvino"}
    assert ours["share_of_peak"] == 0.45
    assert content["systems"][PYTORCH]["share_of_peak"] == 0.31
    assert content["environment"]["onnxruntime"]


def test_the_plot_is_a_picture(result: Benchmark, tmp_path: Path) -> None:
    plot(result, tmp_path / "speed.png")
    content = (tmp_path / "speed.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000


def test_operations_are_those_of_the_products_with_weights(
    make_config: Callable[..., Config],
) -> None:
    config = make_config()
    inputs = load_training_inputs(config)
    encoder = load_encoder(inputs.encoder, config.model, attention="eager")
    model = LabelAttentionModel(encoder, inputs.tasks.size).eval()
    # 32 wide, 2 layers: 4 x 32 x 32 of attention, 2 x 32 x 64 behind it; 2 heads of L labels.
    expected = 2 * (2 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 32 * inputs.tasks.size)
    exported = export_onnx(model, opset=17)
    fused = fuse(exported, encoder.config, every=False).model
    assert operations_per_token(exported) == expected
    assert operations_per_token(fused.SerializeToString()) == expected
    assert operations_per_token(quantise(fused).SerializeToString()) == expected


@pytest.mark.parametrize("int8", [True, False])
def test_the_peak_is_a_rate(int8: bool) -> None:
    assert 1e8 < peak(int8=int8, threads=1) < 1e15


def test_the_base_install_is_a_part_of_the_one_for_training() -> None:
    base, train = installed_bytes(), installed_bytes("train", "offline")
    numpy = sum(path.stat().st_size for path in Path(np.__file__).parent.rglob("*.so"))
    assert numpy < base < 250_000_000
    assert train > base + Path(torch.__file__).stat().st_size
    assert 0 < import_seconds() < 60


def test_the_profile_accounts_for_every_operator(sound_bundle: Path) -> None:
    seconds, tokens = profile(Bundle.load(sound_bundle), [("I am so sorry", None), ("ok", "late")])
    assert tokens == 3 * (7 + 6)  # rounds; [CLS] [SEP] [SEP] and pieces of words
    assert {"MatMul", "Gather", "Softmax"} <= set(seconds)
    assert list(seconds.values()) == sorted(seconds.values(), reverse=True)
    shown = io.StringIO()
    Console(file=shown, width=100).print(render_profile(seconds, tokens))
    assert "MatMul" in shown.getvalue()
    assert "µs per token" in shown.getvalue()


def test_a_system_that_cannot_load_is_named(tmp_path: Path) -> None:
    setting = Setting(str(tmp_path / "none"), str(tmp_path), "a.onnx", "b.onnx", {}, 1, 1)
    with pytest.raises(RunError, match=r"(?s)^tactful: BundleError: .*does not exist"):
        SystemProcess("tactful", setting)


def test_a_system_reads_and_tells_its_time_and_memory(
    sound_bundle: Path,
) -> None:
    process = SystemProcess("tactful", Setting(str(sound_bundle), "", "", "", {}, 1, 1))
    try:
        pairs = [("I am so sorry", None), ("thank you", "late")] * 10
        spent = [process.many(pairs), *process.singles(pairs[:3])]
        assert len(spent) == 4
        assert all(0 < each.wall < 60 and 0 < each.cpu < 60 for each in spent)
        assert 20_000_000 < process.peak_memory() < 2_000_000_000
        assert process.load_seconds > 0
        with pytest.raises(RunError, match=r"^tactful: InputError"):
            process.many([("", None)])
    finally:
        process.close()


@pytest.fixture
def registered(workplace: Path, sound_bundle: Path) -> Iterator[str]:
    """The address of a bundle in the MLflow store of the working folder."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{workplace}/mlflow.db")
    client = MlflowClient()
    experiment = client.create_experiment("bundles", str(workplace / "artifacts"))
    run = client.create_run(experiment).info
    client.log_artifacts(run.run_id, str(sound_bundle), "model/data/tiny")
    client.create_registered_model("tactful")
    made = client.create_model_version("tactful", f"{run.artifact_uri}/model", run.run_id)
    client.set_registered_model_alias("tactful", "champion", made.version)
    yield "models:/tactful@champion"
    mlflow.set_tracking_uri(before)


def test_every_kind_of_address_can_be_measured(
    registered: str,
    sound_bundle: Path,
    tiny_encoder: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = Bundle.load(registered)
    folder = Bundle.load(sound_bundle)
    assert (bundle.address, folder.address) == (registered, str(sound_bundle.resolve()))
    assert bundle.files == folder.files
    assert bundle.digest == folder.digest
    write_archive(bundle, workplace / "tiny.tar.gz")
    (workplace / "rows.jsonl").write_text('{"id": "a", "reply": "so sorry", "labels": {}}\n')
    ours = {name: speed_benchmark.SYSTEMS[name] for name in ("tactful", "tactful, fp32")}
    # Made in any case, and their time is not asked for here.
    monkeypatch.setattr(speed_benchmark, "make_int8_peers", lambda *_: ({}, {}))
    monkeypatch.setattr(speed_benchmark, "SYSTEMS", ours)  # the peers take a minute to load

    app = typer.Typer()
    app.command()(benchmark_command)

    def benchmark(address: str, *options: str) -> str:
        result = CliRunner().invoke(app, ["--bundle", address, "--data", "rows.jsonl", *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    few = ["--rounds", "1", "--singles", "1", "--json", "--encoder", str(tiny_encoder)]
    shown = benchmark(registered, *few, "--beside", str(sound_bundle))
    assert json.loads(shown)["bundle"] == bundle.id
    assert list(json.loads(shown)["systems"]) == [*ours, "tactful, tiny"]
    for address in (registered, "tiny.tar.gz"):
        assert "MatMul" in benchmark(address, "--profile")
