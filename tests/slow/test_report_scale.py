"""A report of 50,000 replies by 200 agents: `make test-report`.

Processor time is what is held to a minute, as other work on the machine does not count.
"""

from __future__ import annotations

import json
import resource
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
COLUMNS = ["agent", "team", "channel", "conversation"]
OPTIONS = ["--time-column", "sent", "--customer-time-column", "received"]
OPTIONS += ["--outcome-column", "satisfaction", "--rank", "--json"]
OPTIONS += [part for name in COLUMNS for part in (f"--{name}-column", name)]
PROGRAM = "import runpy; runpy.run_module('tactful.cli', run_name='__main__')"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("varied", [True, False], ids=["all different", "much the same"])
def test_a_report_takes_less_than_a_minute_and_a_gigabyte(tmp_path, run_and_measure, varied):
    made_up = runpy.run_path(str(Path(__file__).with_name("made_up_support.py")))["made_up"]
    scored, out = tmp_path / "scored.jsonl", tmp_path / "out.html"
    with scored.open("w", encoding="utf-8") as file:
        for row in made_up(50_000, 200, varied=varied):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed, kibibytes = run_and_measure(PROGRAM, "report", scored, out, *OPTIONS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = kibibytes / 2**20
    size = out.stat().st_size / 2**20
    print(f"\n{seconds:.1f} s of processor time, at most {peak:.2f} GB, a page of {size:.1f} MB")
    assert json.loads(printed)["replies"] == 50_000
    assert out.read_text("utf-8").count('class="person"') == 200
    assert seconds < 60
    assert peak < 1
