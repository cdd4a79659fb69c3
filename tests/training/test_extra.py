from __future__ import annotations

import subprocess
import sys

import pytest

from tactful.errors import MissingExtraError
from tactful_training.extra import require_train_extra


def test_nothing_happens_where_the_extra_is_installed():
    require_train_extra("tactful train")


def test_a_missing_package_gives_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(
        MissingExtraError, match=r"tactful train needs .*pip install 'tactful\[train\]'"
    ):
        require_train_extra("tactful train")


def test_the_check_imports_none_of_it():
    code = (
        "import sys; from tactful_training.extra import require_train_extra as r; r('x');"
        "print(sorted({'torch', 'mlflow', 'transformers', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
