"""Evaluation over a cluster of Ray: parts of a set, measured wherever there is room.

Rows are those of `codax evaluate --shard`; Ray starts a part again whose machine is
lost. The folder of pictures must be one that all machines see.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codax.errors import CodaxError, ConfigError, needs_extra
from codax.evaluation.metric_table import DEFAULT_METRICS
from codax.evaluation.named import named_codecs
from codax.evaluation.outside_metrics import find_metrics
from codax.evaluation.summary import conditions
from codax.evaluation.sweep import (
    Sweep,
    appending,
    find_pictures,
    merge_rows,
    read_rows,
    sweep,
)

__all__ = ["evaluate"]

ROWS = "rows.jsonl"
LARGEST = 16
"""Pictures of a part: what a lost machine costs at most."""


def evaluate(
    folder: str | Path,
    codecs: Sequence[str],
    output: str | Path,
    *,
    qualities: Sequence[float] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    options: Mapping[str, Any] | None = None,
) -> Sweep:
    """Measures codecs on the pictures of a folder, on all machines of a cluster.

    Writes `rows.jsonl`; where it is there already, only what is missing is measured.
    `codax evaluate FOLDER --codecs ... -o OUTPUT` makes the report of it.

    Args:
        folder: of pictures, under the same path on all machines.
        codecs: names, as `codax evaluate --codecs` takes them.
        output: the folder of the report.
        qualities: of codax's models, in place of their own.
        metrics: names of the table.
        options: of Ray for each part, such as `{"num_cpus": 2}` or `{"num_gpus": 1}`.

    Returns:
        Rows, unreadable pictures and failures, as of `sweep`.

    Raises:
        UnsupportedError: Ray is not installed.
        ConfigError: an unknown name, or machines with other weights or versions.
        ImageError: no pictures.
    """
    with needs_extra("codax.ray.evaluate"):
        import ray

    folder, rows_path = Path(folder).resolve(), Path(output) / ROWS
    if not codecs:
        raise ConfigError("codecs: there are none; name one, such as jpeg")
    # What is wrong is said before any work.
    named_codecs(codecs)
    whole = Sweep(metrics=find_metrics(metrics))
    pictures = len(find_pictures(folder))
    if not ray.is_initialized():
        ray.init()
    cores = int(ray.cluster_resources().get("CPU", 1))
    count = min(pictures, max(cores, -(-pictures // LARGEST)))
    known = read_rows(rows_path)
    remote = ray.remote(_measured).options(
        **{"num_cpus": 1, "scheduling_strategy": "SPREAD", **(options or {})}
    )
    there = {json.dumps(row) for row in known}
    shared = ray.put(known)
    wanted = str(folder), list(codecs), qualities, list(metrics)
    left = [remote.remote(shared, (k, count), *wanted) for k in range(1, count + 1)]
    rows_path.parent.mkdir(parents=True, exist_ok=True)
    with appending(rows_path) as out:
        while left:
            (done,), left = ray.wait(left)
            part = ray.get(done)
            if isinstance(part, CodaxError):
                for other in left:
                    ray.cancel(other, force=True)
                raise part
            # Kept at once, so that what is done is done.
            lines = map(json.dumps, part.rows)
            out.writelines(line + "\n" for line in lines if line not in there)
            out.flush()
            whole.measured += part.measured
            whole.failures += part.failures
            whole.unreadable |= part.unreadable
    whole.rows = merge_rows([rows_path], rows_path)
    return whole


def _measured(
    known: list[dict[str, Any]],
    part: tuple[int, int],
    folder: str,
    codecs: list[str],
    qualities: Sequence[float] | None,
    metrics: list[str],
) -> Sweep | CodaxError:
    """What a machine does: a part of the pictures; codax's errors come back whole."""
    try:
        own = named_codecs(codecs)
        models = [codec.name for codec in own if codec.warm_up]
        facts = conditions("", "")
        with tempfile.TemporaryDirectory() as scratch:
            rows = Path(scratch) / ROWS
            rows.write_text(
                "".join(json.dumps(row) + "\n" for row in known), encoding="utf-8"
            )
            return sweep(
                Path(folder),
                own,
                rows,
                qualities=dict.fromkeys(models, qualities) if qualities else None,
                metrics=metrics,
                facts={key: facts[key] for key in ("commit", "machine")},
                shard=part,
            )
    except CodaxError as error:
        return error
