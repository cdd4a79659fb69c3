"""The engine ``ray``: Ray Data hands descriptors of parts to actors that hold a classifier each.

Rows never travel to the actors: each reads its parts itself, from storage that all machines see,
and runs the code of a local job. The bundle does travel, as the bytes that were verified here, so
that no machine needs its address. What comes back is the finished content of a part; the driver
commits it in order. Autoscaling, back-pressure and retries are Ray's.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, BinaryIO

from tactful.batch.job_parts import PartScorer, Write
from tactful.batch.job_progress_and_summary import PartReport
from tactful.batch.job_spec import JobSpec, Part
from tactful.bundle.loading import Bundle
from tactful.classifier import Classifier
from tactful.errors import JobError, MissingExtraError, TactfulError


def require_ray() -> None:
    """Check that the extra ``ray`` is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if any(find_spec(module) is None for module in ("ray", "pyarrow", "pandas")):
        raise MissingExtraError("--engine ray", "ray")


def scored_by_ray(
    spec: JobSpec,
    bundle: Bundle,
    parts: Iterable[Part],
    *,
    address: str | None,
    actors: int | None,
) -> Iterator[tuple[Part, Write]]:
    """Score parts on a Ray cluster, in order.

    Args:
        spec: the job; its files must have the same paths on every machine.
        bundle: what scores, on every machine.
        parts: what is left to do.
        address: of a cluster to join; without it one is started on this machine.
        actors: how many classifiers there are; without it as many as Ray sees fit, at most one a
            processor.

    Raises:
        JobError: what an actor says, or that Ray gave up.
    """
    todo = [{"part": json.dumps(asdict(part))} for part in parts]
    if not todo:
        return

    import ray
    import ray.data

    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        most = actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        pool = ray.data.ActorPoolStrategy(min_size=actors or 1, max_size=most)
        # A block for each part: the unit that Ray hands out, retries and counts against memory.
        scored = ray.data.from_items(todo, override_num_blocks=len(todo)).map(
            PartActor,
            fn_constructor_args=(spec, bundle.address, ray.put(dict(bundle.files))),
            compute=pool,
            num_cpus=1,
        )
        for row in scored.iter_rows():
            yield _answer(row)
    except ray.exceptions.RayError as error:
        raise JobError(f"Ray gave up: {error}") from error
    finally:
        if started:
            ray.shutdown()


class PartActor:
    """Holds a classifier; scores one part at a time.

    Args:
        spec: the job.
        address: of the bundle, for messages.
        files: those of the bundle, or a reference to them in Ray's store.
    """

    def __init__(self, spec: JobSpec, address: str, files: Any) -> None:
        if not isinstance(files, Mapping):
            import ray

            files = ray.get(files)
        # One thread: Ray runs as many actors as there are processors. The files are those whose
        # signature was asked for where the job was started, and the keys need not lie here.
        bundle = Bundle.verified(files, address, threads=1, trusted_keys=())
        self._scorer = PartScorer(spec, Classifier(bundle))

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Score the part that a row describes: its content and report, or what went wrong."""
        sink, report, failure = io.BytesIO(), PartReport(), b""
        try:
            report = self._scorer.score(Part(**json.loads(row["part"])), sink)
        except TactfulError as error:  # told, not raised: no retry would change it
            failure = pickle.dumps(error if isinstance(error, JobError) else JobError(str(error)))
        return {
            "part": row["part"],
            "content": sink.getvalue(),
            "report": json.dumps(report.to_json()),
            "failure": failure,
        }


def _answer(row: Mapping[str, Any]) -> tuple[Part, Write]:
    if row["failure"]:
        raise pickle.loads(row["failure"])

    def write(sink: BinaryIO) -> PartReport:
        sink.write(row["content"])
        return PartReport.from_json(json.loads(row["report"]))

    return Part(**json.loads(row["part"])), write
