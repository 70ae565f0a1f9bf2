"""Which keys of a config a run makes something of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import config_of_files, is_tracked, overridden_keys, root_key

# MONAI's own: of the run, of its logging, and of the handlers that --tracking adds.
_OF_MONAI = {"imports", "initialize", "finalize", "run", ConfigParser.meta_key}
_MLFLOW: dict[str, Any] = DEFAULT_EXP_MGMT_SETTINGS["mlflow"]
_OF_TRACKING = (
    *("tracking_uri", "experiment_name", "run_name", "parent_run"),
    *("system_metrics", "registered_model", "registered_alias"),
)


def unused_keys(config: Mapping[str, Any], run_id: str = "training") -> set[str]:
    """Top-level keys that neither ``run_id`` nor ``initialize`` nor what they refer to uses; nothing is built.

    Args:
        config: of one or several config files, merged.
        run_id: what is run.
    """
    parser = ConfigParser(dict(config))
    for key in {run_id, "initialize"} & set(config):
        parser.get_parsed_content(key, instantiate=False, eval_expr=False)
    used = {root_key(identity) for identity in parser.ref_resolver.resolved_content}
    return set(config) - used - _OF_MONAI - set(_MLFLOW["configs"])


def check_effect(run_id: str = "training", argv: Sequence[str] | None = None) -> None:
    """Refuse settings on the command line that the config files in use make nothing of.

    An overlay that trains another network than LEAF's replaces the parts that use LEAF's settings, an evaluation takes
    the model's own, and a value for one would be ignored without a word. Does nothing in a process that was not started
    as ``python -m monai.bundle run``.

    Args:
        run_id: what is run.
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Raises:
        InputError: Names the settings.
    """
    config = config_of_files(argv)  # an override may well replace what would use another one
    if config is None:
        return
    overridden = {key: f"{key} is {value!r}" for key, value in overridden_keys(argv).items()}
    untracked = [text for key, text in overridden.items() if root_key(key) in _OF_TRACKING]
    if untracked and not is_tracked(argv):
        raise InputError(
            f"{'; '.join(untracked)}: nothing is tracked without --tracking mlflow. Add that, or leave the setting out."
        )
    unused = unused_keys(config, run_id)
    found = [text for key, text in overridden.items() if root_key(key) in unused]
    if found and run_id == "training":
        raise InputError(
            f"{'; '.join(found)}: what these config files train has no part that uses it. Leave the setting out, or "
            "the overlay that replaces the part."
        )
    if found:
        raise InputError(
            f"{'; '.join(found)}: {run_id} has no part that uses it. Leave the setting out: how a model was trained, "
            "and how its images are prepared, is in its folder."
        )
