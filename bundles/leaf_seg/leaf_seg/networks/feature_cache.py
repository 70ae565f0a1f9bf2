"""What frozen networks compute of training slices that come again, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

import leaf_seg
from leaf_seg.runtime.distributed import num_processes
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.tensor_store import TensorStore
from leaf_seg.runtime.tensors import add_to_digest, memory_order, permuted_back
from leaf_seg.transforms.batch_augmentation import BatchAugmentation

logger = logging.getLogger(__name__)


class FeatureCache:
    """Keeps on disk what frozen networks compute, for later steps, epochs and trainings.

    An entry is found by content: by the bytes of the slice as it is after augmentation, and by everything on which the
    last bit of the result depends (:meth:`of`). So a training computes to the bit what it would without the cache.

    The folder is opened at the first use, when the folder of the training has been prepared.

    Args:
        folder: of the entries; made where needed. Several processes may share it.
        limit_gb: size that the folder may have, in 10^9 bytes; when it is full nothing more is added.
        augmentation: of the training slices.
        tile_overlap: None where slices are whole; tiles are moved at random, so that none comes again.

    Attributes:
        num_items: slices that were looked up.
        num_hits: those that were there.

    Raises:
        InputError: When the augmentation makes slices that do not come again.
    """

    def __init__(
        self, folder: PathLike, limit_gb: float, augmentation: object = None, tile_overlap: float | None = None
    ) -> None:
        _check_finite(augmentation, tile_overlap, limit_gb)
        self.folder = folder
        self.limit_gb = limit_gb
        self.num_items = self.num_hits = 0

    @cached_property
    def store(self) -> TensorStore:
        """The entries."""
        return TensorStore(self.folder, self.limit_gb * 1e9, num_processes())

    def of(self, network: nn.Module, precision: str = "fp32") -> CachedNetwork:
        """A frozen network that is called for what the cache does not have.

        Args:
            network: with a ``config`` of plain values, which with its weights says what it computes.
            precision: number format of the autocast in which it is called.

        Raises:
            InputError: When the network has no config or is trained, or the folder cannot be written to.
        """
        return CachedNetwork(self, network, precision)

    def add(self, entries: dict[str, torch.Tensor]) -> None:
        """Keep entries, as long as there is room; the log tells when there is none left."""
        was_full = self.store.is_full
        self.store.add(entries)
        if self.store.is_full and not was_full:
            logger.warning("The feature cache is full, nothing more is added (feature_cache_gb). %s", self.summary())

    def summary(self) -> str:
        """One sentence: how many entries there are, their size, and how many slices were found."""
        number, size = self.store.measure()
        share = self.num_hits / max(self.num_items, 1)
        return (
            f"Features in {self.store.folder}: {number} entries, {size / 1e9:.3f} of {self.limit_gb:g} GB; "
            f"{self.num_hits} of {self.num_items} look-ups ({share:.0%}) found theirs."
        )


class CachedNetwork:
    """A network in front of which a :class:`FeatureCache` stands; made by :meth:`FeatureCache.of`."""

    def __init__(self, cache: FeatureCache, network: nn.Module, precision: str) -> None:
        self.cache = cache
        self.network = network
        identity = _identity(network, precision)
        self._identity = identity.encode()
        self._folder = f"{type(network).__name__}_{identity[:16]}"
        self._is_checked = False
        cache.store  # noqa: B018  # a folder that cannot be written to is an error here, not in the first step

    def __call__(self, inputs: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """What the network makes of a batch.

        The whole batch is computed as soon as one item of it is missing: in a smaller batch its last bits could be
        others. For the same reason the entries of batches of different sizes are different ones.

        Args:
            inputs: [B, ...], on the network's device.
            content: the same values on the CPU, so that no GPU has to be waited for; of one channel where that is
                repeated in the inputs.

        Returns:
            [B, ...], on the network's device.

        Raises:
            InputError: When inputs and content differ, in the first call.
        """
        self._check(inputs, content)
        names = self._names(content)
        is_there = [name in self.cache.store for name in names]
        found = [self.cache.store.get(name) if all(is_there) else None for name in names]
        self.cache.num_items += len(names)
        tensors = [tensor for tensor in found if tensor is not None]
        if len(tensors) == len(names):
            self.cache.num_hits += len(names)
            stacked = _stacked(tensors)
            return (stacked.pin_memory() if inputs.is_cuda else stacked).to(inputs.device, non_blocking=True)
        features: torch.Tensor = self.network(inputs)
        on_cpu = features.cpu()
        self.cache.add({name: on_cpu[i] for i, name in enumerate(names) if name not in self.cache.store})
        return features

    def _names(self, content: torch.Tensor) -> list[str]:
        """Names of the entries of a batch."""
        names = []
        for item in content:
            digest = hashlib.sha256(self._identity + f" batch of {len(content)} ".encode())
            add_to_digest(digest, item)
            names.append(f"{self._folder}/{digest.hexdigest()}")
        return names

    def _check(self, inputs: torch.Tensor, content: torch.Tensor) -> None:
        """Compare once what the network gets with what the entries are named after."""
        if self._is_checked:
            return
        plain = content.as_subclass(torch.Tensor).to(inputs).expand_as(inputs)
        if not torch.equal(plain, inputs.as_subclass(torch.Tensor)):
            raise InputError(
                f"feature_cache_gb is {self.cache.limit_gb:g}, but {type(self.network).__name__} does not get what the "
                "data loader gives: prepare_batch changes it. Set feature_cache_gb to null."
            )
        self._is_checked = True


def _stacked(items: list[torch.Tensor]) -> torch.Tensor:
    """A batch that lies in memory as its items do: channels last, where the network gives its results so."""
    order = memory_order(items[0])
    return permuted_back(torch.stack([item.permute(order) for item in items]), [0, *(dim + 1 for dim in order)])


def _identity(network: nn.Module, precision: str) -> str:
    """SHA-256 over all on which a network's results depend, to the last bit."""
    name = type(network).__name__
    config: dict[str, Any] | None = getattr(network, "config", None)
    if config is None or any(parameter.requires_grad for parameter in network.parameters()):
        reason = "has no config, which would say what it computes" if config is None else "is trained"
        raise InputError(f"feature_cache_gb is given, but {name} {reason}. Set feature_cache_gb to null.")
    if config.get("sampled"):
        raise InputError(f"feature_cache_gb is given, but {name} draws at random. Set feature_cache_gb to null.")
    state = network.state_dict()
    device = next((tensor.device for tensor in state.values()), torch.device("cpu"))
    digest = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        digest.update(f"{key} {memory_order(tensor)}".encode())  # with channels last the last bits are others
        add_to_digest(digest, tensor)
    described = {"class": f"{type(network).__module__}.{name}", "config": config, "precision": precision}
    digest.update(json.dumps(described | _arithmetic(device), sort_keys=True).encode())
    return digest.hexdigest()


def _arithmetic(device: torch.device) -> dict[str, Any]:
    """By what the machine computes: others differ in the last bits."""
    is_cpu = device.type == "cpu"
    return {
        "versions": [leaf_seg.__version__, torch.__version__, version("diffusers"), version("transformers")],
        "device": [device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else None],
        "cpu": [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()] if is_cpu else None,
        "cuda": (
            None if is_cpu else [torch.version.cuda, torch.backends.cudnn.version(), torch.backends.cudnn.benchmark]
        ),
        "tf32": [torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _check_finite(augmentation: object, tile_overlap: float | None, limit_gb: float) -> None:
    """Refuse an augmentation after which a slice hardly ever comes again."""
    if tile_overlap is not None:
        raise InputError(
            f"feature_cache_gb is {limit_gb:g}, but tile_overlap is {tile_overlap:g}: tiles move at random, so that "
            "none comes again. Turn the cache off by --feature_cache_gb '$None', or leave tile_overlap out."
        )
    if augmentation is None:
        return
    if isinstance(augmentation, BatchAugmentation):
        endless = [type(transform).__name__ for transform in augmentation.transforms if not transform.is_finite]
        if not endless:
            return
        found = f"train#augmentation has {', '.join(endless)}"
    else:
        found = f"train#augmentation is a {type(augmentation).__name__}"
    raise InputError(
        f"feature_cache_gb is {limit_gb:g}, but {found}, with which slices do not come again, so that a cache would "
        "only fill the disk; expected a BatchAugmentation of BatchMirror alone. Turn the cache off "
        "by --feature_cache_gb '$None', or augment as configs/methods/leaf_paper.json does."
    )
