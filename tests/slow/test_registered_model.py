"""A registered model where nothing of training is installed: each test runs the interpreter of an
environment of its own. `make mlflow-test` makes them and names them by environment variables.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tactful import Classifier
from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.registry.mlflow_tracker import Tracker
from tactful_training.registry.model_registration import register

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {"reply": "I am so sorry, friend.", "context": "my parcel is late"},
    {"reply": "Thank you for your order. We will call you.", "context": None},
    {"reply": "the parcel is late and " * 40 + "sorry"},
]
SPARK = """
import json, sys
import mlflow
from pyspark.sql import SparkSession

rows = json.loads(sys.argv[1])
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
table = spark.createDataFrame(
    [(row["reply"], row.get("context")) for row in rows], "reply string, context string"
)
score = mlflow.pyfunc.spark_udf(spark, "models:/tactful@champion", env_manager="local")
said = table.select(score("reply", "context").alias("r")).select("r.*").collect()
print("RESULT" + json.dumps([row.asDict(recursive=True) for row in said]))
"""


@pytest.fixture(scope="module")
def registered(
    sound_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Classifier]]:
    """A folder with a store whose champion is the small bundle of the tests."""
    folder = tmp_path_factory.mktemp("store")
    before = mlflow.get_tracking_uri()
    classifier = Classifier.load(sound_bundle, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tracker = Tracker(f"sqlite:///{folder}/mlflow.db")
        tracker.open("tactful", "test", None)
        assert tracker.failure is None, tracker.failure
        made = register(
            mlflow.MlflowClient(),
            str(tracker.run_id),
            sound_bundle,
            classifier.bundle.heads.tasks,
            headline={"tone/accuracy": Estimate(0.9, 0.8, 0.95)},
            tags={"bundle": classifier.bundle.id},
            obstacles=[],
        )
        tracker.close("FINISHED")
    assert made.champion
    yield folder, classifier
    mlflow.set_tracking_uri(before)


def interpreter(variable: str) -> str:
    """The interpreter of an environment without torch."""
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set; run `make mlflow-test`")
    path = os.environ[variable]
    code = "import importlib.util as u; assert not u.find_spec('torch')"
    subprocess.run([path, "-I", "-c", code], check=True)
    return path


def environment(python: str, folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    kept["PATH"] = f"{Path(python).parent}{os.pathsep}{kept['PATH']}"
    return {
        **kept,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def check(said: list[dict[str, Any]], classifier: Classifier) -> None:
    pairs = [(row["reply"], row.get("context")) for row in ROWS]
    for row, reading in zip(said, classifier.classify_many(pairs), strict=True):
        assert row["strategies"] == [label.label for label in reading.strategies]
        assert row["tone"] == reading.tone.label
        assert row["bundle"] == reading.bundle
        assert row["error"] is None
        for task, scores in reading.scores.items():
            for label, score in scores.items():
                assert row[f"score.{task}.{label}"] == pytest.approx(score, abs=1e-4)
        spans = [span.text for label in reading.strategies for span in label.evidence]
        assert [span["text"] for span in row["evidence"]] == spans


def test_models_serve_answers_invocations_as_the_classifier_does(
    registered: tuple[Path, Classifier], tmp_path: Path
) -> None:
    folder, classifier = registered
    python = interpreter("TACTFUL_MLFLOW_PYTHON")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "mlflow", "models", "serve", "-m", "models:/tactful@champion"]
    command += ["--env-manager", "local", "--port", str(port), "--host", "127.0.0.1"]
    log = (tmp_path / "serve.log").open("w+")
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(python, folder),
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/ping", server, tmp_path / "serve.log")
        request = urllib.request.Request(
            f"{address}/invocations",
            json.dumps({"dataframe_records": ROWS}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = json.loads(answer.read(), parse_constant=pytest.fail)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()
    check(content["predictions"], classifier)


def test_the_extra_registry_opens_the_default_store(registered: tuple[Path, Classifier]) -> None:
    folder, classifier = registered
    python = interpreter("TACTFUL_REGISTRY_PYTHON")
    code = (
        "import importlib.util as u, json\n"
        "from tactful import Classifier\n"
        "reading = Classifier.load('models:/tactful@champion').classify('I am so sorry, friend.')\n"
        "print(json.dumps(reading.to_dict()))\n"
        "assert u.find_spec('flask') is None, 'this is full mlflow'\n"
    )
    known = {**environment(python, folder), "PYTHONPATH": str(ROOT / "serving")}
    done = subprocess.run(
        [python, "-c", code], env=known, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == classifier.classify("I am so sorry, friend.").to_dict()


def test_a_spark_udf_scores_a_table(registered: tuple[Path, Classifier], tmp_path: Path) -> None:
    folder, classifier = registered
    python = interpreter("TACTFUL_SPARK_PYTHON")
    assert shutil.which("java"), "Spark needs Java"
    script = tmp_path / "score.py"
    script.write_text(SPARK)
    known = {**environment(python, folder), "PYSPARK_PYTHON": python}
    done = subprocess.run(
        [python, str(script), json.dumps(ROWS)],
        env=known,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    check(json.loads(line.removeprefix("RESULT")), classifier)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()}")
