from __future__ import annotations

import pytest

from tactful_training.config.shipped_files import find_data_set, shipped_root
from tactful_training.errors import DataError


def test_the_shipped_data_set_is_found_from_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_root() / "data_cards/support_replies"
    assert find_data_set("data_cards/support_replies") == shipped
    assert find_data_set("support_replies") == shipped


def test_the_working_folder_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data_cards/support_replies").mkdir(parents=True)
    for name in ("data_cards/support_replies", "support_replies"):
        assert find_data_set(name).resolve() == tmp_path / "data_cards/support_replies"


def test_a_data_set_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no data set 'mine'; looked for the folders"):
        find_data_set("mine")
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(DataError, match="is a file"):
        find_data_set("rows.jsonl")
