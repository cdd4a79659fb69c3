from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tactful.errors import MissingExtraError
from tactful_training.commands import shared_options as extra
from tactful_training.commands.shared_options import require_train_extra


def test_every_package_is_looked_for_and_found_where_the_extra_is_installed(monkeypatch):
    found = {}

    def look(module):
        found[module] = find_spec(module)
        return found[module]

    monkeypatch.setattr(extra, "find_spec", look)
    require_train_extra("tactful train")
    assert {"torch", "mlflow", "transformers", "yaml"} <= set(found)
    assert None not in found.values()


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
        "import sys; from tactful_training.commands import shared_options as e\n"
        "e.require_train_extra('x')\n"
        "print(sorted({'torch', 'mlflow', 'transformers', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
