"""The MLflow run that holds an ablation together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlflow import MlflowClient, MlflowException
from monai.utils import path_to_uri

from leaf_seg.runtime.claim import claim_folder, release_folder
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, replacing
from leaf_seg.tracking import local_store

PARENT_RUN_NAME = "ablation.json"


@dataclass
class ParentRun:
    """A parent run while it is open.

    Attributes:
        run_id: of the run.
        tracking_uri: its MLflow store.
        experiment_name: its experiment.
        status: what the run ends as: FAILED, unless it is set to FINISHED; KILLED when it is interrupted.
        artifacts: files that are logged when the run ends.
    """

    run_id: str
    tracking_uri: str
    experiment_name: str
    status: str = "FAILED"
    artifacts: Sequence[Path] = field(default_factory=tuple)


@contextmanager
def parent_run(output_dir: Path, tracking_uri: str | None = None) -> Iterator[ParentRun]:
    """Open the parent run of an ablation folder: that of an earlier call, or a new one.

    Args:
        output_dir: folder of the ablation; ``ablation.json`` in it names the run.
        tracking_uri: MLflow store; None is ``MLFLOW_TRACKING_URI``, else ``mlruns.db`` in the folder.

    Raises:
        InputError: When the folder's run is in another store, or is no longer there, when the environment names another
            store than the argument, or when another ablation is at work in the folder.
    """
    folder = ensure_writable_folder(output_dir).resolve()
    claim_folder(folder)
    default = os.environ.get("MLFLOW_TRACKING_URI") or local_store(folder)
    uri = tracking_uri or default
    if os.environ.get("MLFLOW_TRACKING_URI", uri) != uri:
        raise InputError(
            f"--tracking_uri is {uri}, but MLFLOW_TRACKING_URI is {os.environ['MLFLOW_TRACKING_URI']}, which MLflow "
            "prefers; unset the variable, or leave out the option."
        )
    client = MlflowClient(tracking_uri=uri)
    file = folder / PARENT_RUN_NAME
    parent = _known(client, file, uri) if file.is_file() else _new(client, file, uri)
    client.update_run(parent.run_id, status="RUNNING")
    try:
        yield parent
    except KeyboardInterrupt:
        parent.status = "KILLED"
        raise
    finally:
        with decoration("MLflow's record of the ablation"):
            for artifact in parent.artifacts:
                client.log_artifact(parent.run_id, str(artifact))
            client.set_terminated(parent.run_id, parent.status)
        release_folder(folder)


def _known(client: MlflowClient, file: Path, uri: str) -> ParentRun:
    parent = ParentRun(**json.loads(file.read_text()))
    if parent.tracking_uri != uri:
        raise InputError(
            f"{file.parent} is tracked in {parent.tracking_uri}, not in {uri}: pass --tracking_uri "
            f"{parent.tracking_uri}, or choose another --output_dir."
        )
    try:
        client.get_run(parent.run_id)
    except MlflowException as error:
        raise InputError(
            f"{file} names the MLflow run {parent.run_id}, which is not in {uri}: restore the store, or delete {file} "
            "to go on under a new run."
        ) from error
    return parent


def _new(client: MlflowClient, file: Path, uri: str) -> ParentRun:
    name = f"leaf_seg_{file.parent.name}"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # Beside the data base, as MONAI's MLFlowHandler has it for the children.
        artifacts = path_to_uri(file.parent / "mlruns") if uri.startswith("sqlite:") else None
        experiment_id = client.create_experiment(name, artifact_location=artifacts)
    else:
        experiment_id = experiment.experiment_id
    run = client.create_run(experiment_id, run_name=file.parent.name)
    parent = ParentRun(run.info.run_id, uri, name)
    kept = {key: asdict(parent)[key] for key in ("run_id", "tracking_uri", "experiment_name")}
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(kept, indent=2) + "\n")
    return parent
