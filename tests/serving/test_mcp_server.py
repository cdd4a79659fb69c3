"""`tactful mcp`, asked by the SDK's own client over standard input and output."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tactful import Classifier

pytest.importorskip("mcp")


def test_an_assistant_has_its_draft_checked(sound_bundle: Path, classifier: Classifier) -> None:
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    words = ["-m", "tactful.cli", "mcp", "--bundle", str(sound_bundle)]

    async def talk():
        server = stdio_client(StdioServerParameters(command=sys.executable, args=words))
        async with Client(server) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            told = await client.call_tool("explain_labels", {})
            why = await client.call_tool("explain_labels", {"reply": "so sorry"})
            asked = {"reply": "I am so sorry, friend.", "context": "my parcel is late"}
            read = await client.call_tool("label_reply", asked)
            wrong = [
                await client.call_tool("label_reply", arguments)
                for arguments in ({"reply": " "}, {}, {"reply": 5}, {"reply": "a", "context": []})
            ]
            again = await client.call_tool("label_reply", {"reply": "Thank you."})
            return listed, told, why, read, wrong, again

    listed, told, why, read, wrong, again = asyncio.run(talk())
    assert set(listed) == {"label_reply", "explain_labels"}
    assert listed["label_reply"].input_schema["required"] == ["reply"]
    assert listed["label_reply"].annotations.read_only_hint
    tasks = told.structured_content["tasks"]
    assert tasks["strategies"]["labels"]["apology"] == "says apology"
    assert tasks["tone"]["a_reply_has"] == "exactly one"
    assert why.structured_content["tasks"] == tasks
    receipt, expected = why.structured_content["receipt"], classifier.explain("so sorry").to_dict()
    assert receipt | {"read_by": 0} == expected | {"read_by": 0}  # of which the threads differ
    reading = classifier.classify("I am so sorry, friend.", "my parcel is late").to_dict()
    assert read.structured_content == reading | {
        "missing": {"strategies": ["gratitude", "next_step"]}
    }
    assert all(result.is_error for result in wrong)
    assert "the reply is empty or blank" in wrong[0].content[0].text
    assert not again.is_error  # what was wrong before harms nobody after


def test_a_bundle_that_cannot_be_used_ends_it(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tactful.cli", "mcp", "--bundle", str(tmp_path / "nowhere")]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "does not exist" in finished.stderr
