"""The network that answers in evaluation and inference: a model, its hypotheses by dropout, or an ensemble."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from leaf_seg.data.model_settings import CALIBRATED
from leaf_seg.networks.ensemble import Ensemble
from leaf_seg.networks.mc_dropout import McDropout
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import absolute
from leaf_seg.runtime.values import parse_bool
from leaf_seg.runtime.written_path import with_home
from leaf_seg.weights.mlflow_source import is_mlflow_model, model_folder
from leaf_seg.weights.model_folder import load_network, load_settings

FurtherMembers = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def load_answering_network(
    folder: str | os.PathLike[str], mc_dropout: bool | str = False, ensemble: FurtherMembers | None = None
) -> SavedNetwork:
    """Load the network of a model folder, for hypotheses by dropout, or together with others.

    Args:
        folder: of the model; of an ensemble the first member's.
        mc_dropout: draw hypotheses by dropout (:class:`~leaf_seg.networks.mc_dropout.McDropout`).
        ensemble: folders of further members, or patterns such as ``runs/wbc_*``; a folder counts once.

    Raises:
        InputError: When a folder is no model, the model was trained without dropout, members are of other classes or
            settings, or both are given.
    """
    has_dropout = parse_bool(mc_dropout, "mc_dropout")
    if ensemble is None:
        network = load_network(folder)
        return McDropout(network) if has_dropout else network
    if has_dropout:
        raise InputError("mc_dropout is true, and ensemble is given; expected one of them: leave the other out.")
    folders = member_folders(folder, ensemble)
    _check_agreement(folders)
    return Ensemble([load_network(member) for member in folders])


def num_answers(folder: str | os.PathLike[str], ensemble: FurtherMembers | None = None) -> int:
    """Hypotheses of an image where no number is given: as many as an ensemble has members, else 1.

    Args:
        folder: of the model.
        ensemble: as of :func:`load_answering_network`.

    Raises:
        InputError: When nothing is where further members are said to be.
    """
    return 1 if ensemble is None else len(member_folders(folder, ensemble))


def member_folders(folder: str | os.PathLike[str], ensemble: FurtherMembers) -> list[Path]:
    """The folders of an ensemble, that of the model first, each once.

    Args:
        folder: of the model.
        ensemble: as of :func:`load_answering_network`.

    Raises:
        InputError: When a pattern fits nothing, or there is no further member.
    """
    entries = [ensemble] if isinstance(ensemble, (str, os.PathLike)) else list(ensemble)
    further = [found for entry in entries for found in _found(os.fspath(entry))]
    folders = list({absolute(found): found for found in [Path(folder), *further]}.values())
    if len(folders) < 2:
        raise InputError(
            f"ensemble is {ensemble!r}, which names no model beside {folder}; expected folders of further trainings."
        )
    return folders


def _found(entry: str) -> list[Path]:
    """Folders that an entry of the list names."""
    entry = with_home(entry)
    if is_mlflow_model(entry):
        return [model_folder(entry)]
    if not glob.has_magic(entry) or os.path.lexists(entry):
        return [Path(entry)]
    found = [Path(path) for path in sorted(glob.glob(entry)) if os.path.isdir(path)]
    if not found:
        raise InputError(f"ensemble: no folder fits {entry!r}; expected those of further trainings. Correct it.")
    return found


def _check_agreement(folders: Sequence[Path]) -> None:
    """Raise when members see their images in another way, or name other classes, than the first."""
    first = asdict(load_settings(folders[0]))
    for folder in folders[1:]:
        for key, value in asdict(load_settings(folder)).items():
            if key not in CALIBRATED and value != first[key]:
                raise InputError(
                    f"ensemble: {folder} has {key} {value!r}, and {folders[0]} has {first[key]!r}; expected the same "
                    "of all members. Leave it out, or train it with the same settings."
                )
