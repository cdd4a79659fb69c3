"""Schemathesis against the live OpenAPI description; `make test-service` tries more examples."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("schemathesis")

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "3"))
PHASES = "examples,fuzzing" if EXAMPLES < 10 else "examples,coverage,fuzzing"
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance")
CHECKS += ("response_schema_conformance", "response_headers_conformance", "unsupported_method")


def test_live_answers_conform_to_the_description(serve, sound_bundle):
    running = serve(sound_bundle, TACTFUL_TOKEN="a-token")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json"]
    command += ["-H", "Authorization: Bearer a-token", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(EXAMPLES), "--phases", PHASES]
    command += ["--suppress-health-check", "all", "--request-timeout", "60", "--seed", "1"]
    command += ["--generation-database", "none", "--no-color"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "passed" in finished.stdout
