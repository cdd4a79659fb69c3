"""``tactful mcp``: a local model for assistants that write replies (extra ``mcp``).

A server of the Model Context Protocol on standard input and output, over the same `Classifier`. An
assistant has a draft read by ``label_reply`` before it is sent, and asks ``explain_labels`` what
the labels mean. No text leaves the machine by it.

Protocol: https://modelcontextprotocol.io
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tactful
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.errors import InputError, MissingExtraError
from tactful.options import BundleOption

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from tactful.classifier import Classifier

_INSTRUCTIONS = (
    "Reads drafts of customer-support replies: which empathy strategies their words show, with "
    "the words that carry each, and their emotional tone. Before a reply is sent, call label_reply "
    "with it and the customer's last message; if the tone is not the one that the situation needs, "
    "or a strategy is missing that it calls for, revise the draft and call it again. Not every "
    "strategy belongs into every reply. It judges language, not people."
)


def mcp(bundle: BundleOption = DEFAULT_BUNDLE) -> None:
    """Serve label_reply and explain_labels to an assistant, over standard input and output."""
    try:
        import mcp.server.mcpserver  # noqa: F401 - before seconds of loading
    except ModuleNotFoundError as error:
        raise MissingExtraError("tactful mcp", "mcp") from error
    build_server(tactful.Classifier.load(bundle)).run("stdio")


def build_server(classifier: Classifier) -> MCPServer:
    """The server with its tools, not yet connected to anybody.

    Args:
        classifier: what reads.
    """
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations

    server = MCPServer(
        "tactful", instructions=_INSTRUCTIONS, version=tactful.__version__, log_level="WARNING"
    )
    harmless = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    tasks = classifier.bundle.heads.tasks

    @server.tool(annotations=harmless)
    def label_reply(reply: str, context: str | None = None) -> dict[str, Any]:
        """Read a draft of a support reply: strategies with the words that carry them, and tone.

        Give the customer's last message as context. Scores are calibrated probabilities; labels
        are what was decided. `missing` lists the labels of each task that were not found.
        """
        try:
            reading = classifier.classify(reply, context=context)
        except InputError as error:
            raise ToolError(str(error)) from error
        found = {task.name: {each.label for each in reading.decided(task.name)} for task in tasks}
        missing = {
            task.name: [name for name in task.names if name not in found[task.name]]
            for task in tasks
            if task.kind == "multilabel"
        }
        return reading.to_dict() | {"missing": missing}

    @server.tool(annotations=harmless)
    def explain_labels(reply: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Say what each label of this model means, and how many of a task a reply can have.

        With a reply also why it is read as it is: `receipt` has each label's score beside the
        threshold that it would have to reach.
        """
        counts = {"multilabel": "any number", "single": "exactly one"}
        told = {
            "bundle": classifier.bundle.id,
            "tasks": {
                task.name: {"a_reply_has": counts[task.kind], "labels": dict(task.labels)}
                for task in tasks
            },
        }
        if reply is None:
            return told
        try:
            return told | {"receipt": classifier.explain(reply, context=context).to_dict()}
        except InputError as error:
            raise ToolError(str(error)) from error

    return server
