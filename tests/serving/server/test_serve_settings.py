from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from tactful.errors import TactfulError
from tactful.options import declared, options_table
from tactful.server.live_bundle import estimate_tokens
from tactful.server.serve_settings import Settings, read_token

ROOT = Path(__file__).resolve().parents[3]
DOCS = (ROOT / "docs/service.md").read_text("utf-8")


def test_every_setting_is_an_option_with_a_reason_and_the_docs_show_them_all():
    options = list(declared(Settings))
    assert {one.name for one in options} == {f.name for f in dataclasses.fields(Settings)} - {
        "token"
    }
    for one in options:
        assert one.variable == f"TACTFUL_{one.name.upper()}"
        assert one.name == "bundle" or len(one.help) > 60, one.name
    assert f"\n\n{options_table(Settings)}\n" in DOCS


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70_000), ("workers", 0), ("max_items", 0), ("deadline_ms", 0), ("gather_ms", -1)],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(TactfulError, match=f"--{name.replace('_', '-')} is {value}, allowed: "):
        Settings(**{name: value})
    with pytest.raises(TactfulError, match="text, json"):
        Settings(log_format="xml")


@pytest.mark.parametrize("path", ["/", "tactful", "/tactful/", "//a", "/a b", "/a?b", "/é"])
def test_a_root_path_is_a_path(path):
    assert Settings(root_path="/a/b-c_d.e~1").root_path
    with pytest.raises(TactfulError, match=r"--root-path is '.*', allowed: a path .* /tactful"):
        Settings(root_path=path)


@pytest.mark.parametrize(
    ("host", "token", "exposed"),
    [
        *(("127.0.0.1", None, False), ("127.9.9.9", None, False), ("::1", None, False)),
        *(("localhost", None, False), ("0.0.0.0", None, True), ("::", None, True)),
        *(("example.org", None, True), ("0.0.0.0", "token", False)),
    ],
)
def test_who_could_reach_it_without_a_token(host, token, exposed):
    assert Settings(host=host, token=token).is_exposed is exposed


def test_a_token_comes_from_a_file_or_a_variable_and_is_never_empty(tmp_path):
    file = tmp_path / "token"
    file.write_text(" secret\n")
    assert read_token(file, "other") == "secret"
    assert read_token(None, "other") == "other"
    assert read_token(None, None) is None
    for wrong in ("", " \n", "two words", "gehörig", "a\nb"):
        file.write_text(wrong)
        with pytest.raises(TactfulError, match="token file"):
            read_token(file, None)
    with pytest.raises(TactfulError, match="TACTFUL_TOKEN"):
        read_token(None, "")
    with pytest.raises(TactfulError, match="cannot be read"):
        read_token(tmp_path / "none", None)


def test_only_the_token_opens():
    settings = Settings(token="secret")
    assert settings.allows("Bearer secret")
    assert settings.allows("bearer  secret ")
    for wrong in (None, "", "secret", "Bearer", "Bearer secre", "Bearer secret2", "Basic secret"):
        assert not settings.allows(wrong)
    assert Settings().allows(None)


def test_estimates_are_near_what_is_run_and_never_above_what_is_read(classifier):
    limits = classifier.bundle.heads.limits
    assert estimate_tokens("word " * 8, None, limits) == 13
    assert estimate_tokens("word", "context " * 1000, limits) == limits.max_tokens
    most = limits.max_tokens * limits.max_windows
    assert estimate_tokens("word " * 100_000, "context", limits) == most
    assert estimate_tokens("\ud800", None, limits) >= 4
    sizes = [estimate_tokens("a" * n, None, limits) for n in range(0, 3000, 7)]
    assert sizes == sorted(sizes)


def test_what_deploy_names_exists():
    metrics = (ROOT / "serving/tactful/server/telemetry.py").read_text("utf-8")
    names = set(re.findall(r'"(tactful_\w+)"', metrics))
    text = ""
    for file in (ROOT / "deploy").iterdir():
        text += file.read_text("utf-8")
    for name in set(re.findall(r"\btactful_\w+", text)):
        assert re.sub(r"_(total|bucket|sum|count)$", "", name) in names, name
    variables = {one.variable for one in declared(Settings)} | {"TACTFUL_TOKEN"}
    assert set(re.findall(r"\bTACTFUL_[A-Z_]+", text)) <= variables


def test_deploy_can_be_parsed():
    yaml = pytest.importorskip("yaml")
    manifests = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text("utf-8")))
    pod = manifests[0]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= set(container)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    service = yaml.safe_load((ROOT / "deploy/kserve.yaml").read_text("utf-8"))
    [predictor] = service["spec"]["predictor"]["containers"]
    variables = {each["name"]: each.get("value") for each in predictor["env"]}
    assert variables["TACTFUL_MODEL_NAME"] == service["metadata"]["name"]
    assert predictor["ports"][0]["containerPort"] == int(variables["TACTFUL_PORT"])
    for name in ("prometheus.yaml", "prometheus-rules.yaml"):
        assert yaml.safe_load((ROOT / "deploy" / name).read_text("utf-8"))
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text("utf-8"))
    assert all(panel["targets"] for panel in dashboard["panels"])
