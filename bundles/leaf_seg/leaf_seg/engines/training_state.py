"""All that a training has to keep to go on exactly where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from ignite.engine import Engine, Events
from torch.optim import Optimizer

import leaf_seg
from leaf_seg.engines.random_state import random_state, set_random_state
from leaf_seg.runtime.distributed import bare
from leaf_seg.runtime.errors import InputError

if TYPE_CHECKING:
    from leaf_seg.engines.trainer import BundleTrainer

logger = logging.getLogger(__name__)

_WAITING = ("scaler", "random")  # restored right before the first step
_KEYS = ("iteration", "epoch_length", "data_id", "parts", *_WAITING)


@runtime_checkable
class Stateful(Protocol):
    """What has a state that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """State as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""


@runtime_checkable
class _Resumable(Protocol):
    def start_at(self, epoch: int, position: int) -> None: ...


def training_state(trainer: BundleTrainer) -> dict[str, Any]:
    """State of a trainer between two optimiser steps, as tensors and plain values.

    It holds network, optimizer, schedule, average, loss scale, random generators, the place in the data, what was used
    of a budget, and the state of every handler that has one (:class:`Stateful`); of a trainer that was restored and has
    not trained since, its random generators and loss scale as they were.
    """
    return {
        "version": leaf_seg.__version__,
        "iteration": trainer.state.iteration,
        "epoch_length": trainer.state.epoch_length,
        "data_id": trainer.data_id,
        "settings": trainer.settings,
        "parts": {name: part.state_dict() for name, part in _parts(trainer).items()},
        "budget": trainer.budget.state_dict() if trainer.budget is not None else None,
        "scaler": trainer.scaler.state_dict() if trainer.scaler is not None else None,
        "random": random_state(),
    } | (trainer.waiting_state or {})


def restore_training_state(trainer: BundleTrainer, state: dict[str, Any]) -> None:
    """Let a trainer that has not run go on from a state.

    Random generators and loss scale are restored right before the first step: after all that starting a run may draw,
    and after MONAI's trainer has made its scaler.

    Raises:
        InputError: When it is no state of a training, or that of another network, optimizer, set of handlers, data set
            or settings.
    """
    try:
        _restore(trainer, state)
    except InputError as error:
        raise InputError(f"{error}{_of_another_version(state)}") from error.__cause__
    if _of_another_version(state):
        logger.warning("The checkpoint is used.%s", _of_another_version(state))


def _restore(trainer: BundleTrainer, state: dict[str, Any]) -> None:
    _check_is_state(state)
    if state["data_id"] != trainer.data_id:
        raise InputError(
            f"The checkpoint was made with another data set or another split of it (hash {state['data_id']}, now "
            f"{trainer.data_id}): cases that were trained on may be validation or test cases now. Resume with the data "
            "that the run began with, or train into another output_dir."
        )
    if state["epoch_length"] != trainer.state.epoch_length:
        raise InputError(
            f"The checkpoint was made with {state['epoch_length']} batches an epoch, this training has "
            f"{trainer.state.epoch_length}; expected the same data and batch_size. Resume with the settings that the "
            "run began with, or train into another output_dir."
        )
    _check_settings(trainer.settings, state.get("settings"))
    _restore_budget(trainer, state.get("budget"))
    parts = _parts(trainer)
    if state["parts"].keys() != parts.keys():
        raise InputError(
            f"The checkpoint holds the state of {', '.join(sorted(state['parts']))}, this training has "
            f"{', '.join(sorted(parts))}. Resume with the settings that the run began with."
        )
    for name, part in parts.items():
        try:
            part.load_state_dict(state["parts"][name])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:  # by the kind of part
            raise InputError(
                f"The checkpoint's {name} does not fit this training ({_in_brief(error)}). "
                "Resume with the settings that the run began with."
            ) from error
    lay_out_as_parameters(trainer.optimizer)
    iteration, epoch_length = state["iteration"], state["epoch_length"]
    trainer.state.iteration = iteration
    trainer.state.epoch = iteration // epoch_length
    _place_in_data(trainer, *divmod(iteration, epoch_length))

    trainer.waiting_state = {key: state[key] for key in _WAITING}

    def before_first_step(engine: Engine) -> None:
        set_random_state(state["random"])
        if trainer.scaler is not None and state["scaler"] is not None:
            trainer.scaler.load_state_dict(state["scaler"])
        trainer.waiting_state = None
        handle.remove()

    handle = trainer.add_event_handler(Events.ITERATION_STARTED, before_first_step)
    logger.info("Going on after step %d, in epoch %d.", iteration, iteration // epoch_length + 1)


def lay_out_as_parameters(optimizer: Optimizer) -> None:
    """Lay out the optimiser's tensors in memory as the parameters are, which ``channels_last`` may have changed.

    PyTorch's fused AdamW on a CPU goes through memory, and would give weights the moments of others.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _restore_budget(trainer: BundleTrainer, state: dict[str, Any] | None) -> None:
    if trainer.budget is None:
        return
    if state is None:
        logger.warning("The checkpoint says of no limit of time: the plan of %s begins here.", trainer.budget.key)
    else:
        trainer.budget.load_state_dict(state)


def _check_is_state(state: Any) -> None:
    """Refuse what is no state of a training."""
    missing = [key for key in _KEYS if not isinstance(state, dict) or key not in state]
    if missing:
        raise InputError(
            f"The checkpoint has no {', '.join(missing)}: it is not one of a training of leaf_seg, or was changed. "
            "Restore it from a backup, or start anew with --overwrite true."
        )
    counts = (state["iteration"], state["epoch_length"])
    if not all(isinstance(count, int) and count >= 0 for count in counts) or not isinstance(state["parts"], dict):
        raise InputError(
            f"The checkpoint has the iteration {counts[0]!r}, the epoch length {counts[1]!r} and parts in a "
            f"{type(state['parts']).__name__}; expected whole numbers and a dict. Restore it from a backup, or start "
            "anew with --overwrite true."
        )


def _check_settings(now: Mapping[str, Any] | None, then: Mapping[str, Any] | None) -> None:
    """Refuse another meaning of images and labels; a checkpoint of a former version does not say what it was."""
    if now is None or then is None:
        return
    changes = [
        f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
        for key in {**then, **now}
        if _plain(then.get(key)) != _plain(now.get(key))
    ]
    if changes:
        raise InputError(
            f"The checkpoint was made with other settings: {'; '.join(changes)}. Resume with the settings that the run "
            "began with, or train on from its model in another folder: --init_dir."
        )


def _plain(value: Any) -> Any:
    """Lists for tuples."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _in_brief(error: Exception) -> str:
    """Kind and message on one line; PyTorch lists every key."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _of_another_version(state: Any) -> str:
    """A sentence on who has made a checkpoint, where that was not this version."""
    if not isinstance(state, dict) or state.get("version") == leaf_seg.__version__:
        return ""
    return f" It was made by leaf_seg {state.get('version', '0.2.0 or before')}; this is {leaf_seg.__version__}."


def _parts(trainer: BundleTrainer) -> dict[str, Stateful]:
    """The stateful parts of a trainer by name."""
    candidates: dict[str, Any] = {
        "network": bare(trainer.network),
        "optimizer": trainer.optimizer,
        "lr_scheduler": trainer.lr_scheduler,
        "ema": trainer.ema,
    }
    candidates |= {type(handler).__name__: handler for handler in trainer.train_handlers}
    return {name: part for name, part in candidates.items() if isinstance(part, Stateful)}


def _place_in_data(trainer: BundleTrainer, epoch: int, batch: int) -> None:
    """Let the data go on with a batch of an epoch, both from 0."""
    loader: Any = trainer.data_loader
    if isinstance(loader.sampler, _Resumable):
        loader.sampler.start_at(epoch, batch * loader.batch_size)
    elif batch:
        logger.warning("The data cannot be resumed within an epoch: the rest of this one begins with other batches.")
