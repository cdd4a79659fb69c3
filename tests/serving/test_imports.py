from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "transformers", "datasets", "mlflow", "pandas", "sklearn", "tactful_training"}


def loaded_after(program: str) -> set[str]:
    code = f"{program}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_importing_tactful_is_light() -> None:
    modules = loaded_after("import tactful")
    assert not modules & HEAVY
    assert not modules & {"onnxruntime", "numpy", "tokenizers"}  # half a second together


def test_the_classifier_brings_only_the_base_install() -> None:
    modules = loaded_after("from tactful import *; Classifier")
    assert {"numpy", "tokenizers"} <= modules
    assert not modules & HEAVY


def test_an_unknown_name_is_an_attribute_error() -> None:
    import tactful

    assert not hasattr(tactful, "Labeller")
    assert sorted(set(tactful.__all__)) == sorted(tactful.__all__)
    assert all(hasattr(tactful, name) for name in tactful.__all__)
