from __future__ import annotations

from itertools import pairwise

import pytest
import yaml
from pydantic import BaseModel

from tactful_training.config.config_file import Config, digest, flat, load_config
from tactful_training.config.shipped_files import shipped_root
from tactful_training.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sections(model=Config):
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from sections(field.annotation)


def test_the_schema_has_no_defaults_and_default_yaml_has_every_key():
    assert all(
        field.is_required() for section in sections() for field in section.model_fields.values()
    )
    default = yaml.safe_load((shipped_root() / "configs/default.yaml").read_text("utf-8"))
    assert "extends" not in default
    assert (
        load_config().model_dump()
        == load_config(shipped_root() / "configs/default.yaml").model_dump()
    )


def test_every_line_of_default_yaml_that_sets_a_value_is_explained():
    lines = (shipped_root() / "configs/default.yaml").read_text("utf-8").splitlines()
    for above, line in pairwise(lines):
        if ": " in line and not line.lstrip().startswith("#"):
            assert "# " in line or above.lstrip().startswith("#"), line


def test_other_configs_are_short_diffs():
    configs = set((shipped_root() / "configs").glob("*.yaml"))
    for path in configs - {shipped_root() / "configs/promotion.yaml"}:  # a policy
        config = yaml.safe_load(path.read_text("utf-8"))
        assert path.name == "default.yaml" or config["extends"] == "default.yaml"
        load_config(path)


def test_extends_and_overrides_apply_in_order(folder):
    (folder / "base.yaml").write_text(
        "extends: default.yaml\ntraining: {epochs: 2, batch_size: 8}\n"
    )
    (folder / "mine.yaml").write_text("extends: base.yaml\ntraining: {epochs: 3}\n")
    config = load_config("mine", ["training.learning_rate=5e-5", "loss.task_weights.tone=2"])
    assert (config.training.epochs, config.training.batch_size) == (3, 8)
    assert config.training.learning_rate == 5e-5
    assert config.loss.task_weights == {"strategies": 4.0, "tone": 2.0}


def test_the_working_folder_wins_over_the_shipped_copy(folder):
    assert load_config().seed == 13
    (folder / "configs").mkdir()
    shipped = (shipped_root() / "configs/default.yaml").read_text("utf-8")
    (folder / "configs/default.yaml").write_text(shipped.replace("seed: 13", "seed: 7"), "utf-8")
    assert load_config().seed == 7
    assert load_config("smoke").seed == 13  # what a config extends lies beside it
    assert load_config("configs/default.yaml").seed == 7


def test_flat_and_digest_follow_the_values():
    config, other = load_config(), load_config(None, ["seed=14"])
    assert flat(config)["loss.task_weights.strategies"] == 4.0
    assert flat(config)["data.limit"] is None
    assert flat(config).keys() == flat(other).keys()
    assert digest(config) == digest(load_config(None, ["seed=13"])) != digest(other)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainin.epochs=3", "unknown key 'trainin'; did you mean 'training'?"),
        ("training.epoch=3", "unknown key 'training.epoch'; did you mean 'training.epochs'?"),
        ("epochs=3", "unknown key 'epochs'; did you mean 'training.epochs'?"),
        ("foo=1", "Allowed here: name, version, seed"),
        (
            "training.epochs=three",
            "training.epochs: 'three' (str) given, should be a valid integer",
        ),
        (
            "training.epochs=0",
            "training.epochs: 0 (int) given, should be greater than or equal to 1",
        ),
        ("training.epochs=true", "training.epochs: True (bool) given"),
        ("model.dropout=1", "model.dropout: 1 (int) given, should be less than 1"),
        ("training.learning_rate=.inf", "should be a finite number"),
        ("training.precision=fp16", "should be 'auto', 'fp32' or 'bf16'"),
        ("version=1.0", "put it in quotes"),
        ("name=../evil", "should match pattern"),
        ("data=3", "data: 3 (int) given, should be a mapping"),
        ("seed.x=1", "seed: {'x': 1} (dict) given"),
        ("encoding.window_overlap=253", "with max_tokens 256 it must be from 0 to 252"),
        ("loss.task_weights.tone=-1", "loss.task_weights.tone: -1 (int) given"),
        (
            "encoding.max_tokens=65537",
            "65537 (int) given, should be less than or equal to 65536",
        ),
        ("encoding.max_windows=4097", "4097 (int) given, should be less than or equal to 4096"),
        ("export.opset=21", "export.opset: 21 (int) given, should be less than or equal to 20"),
        ("encoder.sha256=abc", "encoder.sha256: 'abc'"),
        ("seed", "write key.path=value"),
        ("a..b=1", "write key.path=value"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_a_bad_override_says_what_is_allowed(override, message):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert f"override '{override}'" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.yaml is empty"),
        (b"# nothing\n", "mine.yaml is empty"),
        (b"- 1\n", "must hold a mapping"),
        (b"seed: \xff\n", "not UTF-8"),
        (b"extends: default.yaml\nseed: [1\n", "mine.yaml:3: not valid YAML"),
        (
            b"extends: default.yaml\nseed: 1\nseed: 2\n",
            "mine.yaml:3: not valid YAML: the key 'seed'",
        ),
        (b"extends: default.yaml\nseed: \x07\n", "mine.yaml:2"),
        (
            b"extends: default.yaml\ndata: {limt: 3}\n",
            "mine.yaml: unknown key 'data.limt'; did you",
        ),
        (b"extends: default.yaml\nseed: x\n", "mine.yaml: seed: 'x' (str) given"),
        (b"extends: mine.yaml\n", "in a circle"),
        (b"extends: 3\n", "extends: 3 (int) given"),
        (b"extends: nowhere\n", "no config 'nowhere'; looked for"),
        (b"seed: 1\n", "is missing; does the config say 'extends: default.yaml'?"),
        (b"extends: default.yaml\ndata: &a {folder: *a}\n", "not valid YAML"),
        (b"[" * 5000, "nested too deeply"),
    ],
)
def test_a_bad_file_is_named(folder, content, message):
    (folder / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        load_config("mine.yaml")
    assert message in str(caught.value)


def test_a_circle_over_two_files_is_told_as_one(folder):
    (folder / "a.yaml").write_text("extends: b.yaml")
    (folder / "b.yaml").write_text("extends: a.yaml")
    with pytest.raises(ConfigError, match=r"a\.yaml → b\.yaml → a\.yaml"):
        load_config("a")


@pytest.mark.parametrize("name", ["nowhere.yaml", "", "x" * 300, "nul\0"])
def test_a_config_that_is_not_there(folder, name):
    with pytest.raises(ConfigError, match="no config"):
        load_config(name)


def test_a_folder_is_no_config(folder):
    (folder / "runs").mkdir()
    with pytest.raises(ConfigError, match="runs is a folder"):
        load_config("runs")


@pytest.mark.parametrize(
    ("value", "folders"),
    [
        ("mine", [("mine", 1.0)]),
        ("[one, {folder: two, weight: 3}]", [("one", 1.0), ("two", 3.0)]),
    ],
)
def test_one_data_set_or_several_are_named(value, folders):
    found = load_config(None, [f"data.folder={value}"]).data.folders
    assert [(each.folder, each.weight) for each in found] == folders


@pytest.mark.parametrize(
    "value", ["[]", "''", "7", "[one, 2]", "[{folder: one, weight: 0}]", "[{fold: one}]"]
)
def test_data_sets_that_are_none_are_explained(value):
    with pytest.raises(ConfigError, match=r"data\.folder: .* given.* weight: …") as caught:
        load_config(None, [f"data.folder={value}"])
    assert "\n" not in str(caught.value)
