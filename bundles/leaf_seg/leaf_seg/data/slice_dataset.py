"""Training slices of pictures and volumes, kept on disk and read by memory map."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from monai.transforms import Randomizable
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from leaf_seg.data.case_places import CasePlaces, KeepablePreprocessing, KeptPlaces, ScratchPlaces
from leaf_seg.data.case_store import CaseStore
from leaf_seg.data.class_presence import ClassPresence
from leaf_seg.data.prepared_case import CutStack, PreparedCase, StackFacts, as_bytes, as_halves, slice_file
from leaf_seg.data.rater_target import RaterTarget
from leaf_seg.data.slicing import resize_image, resize_label, slice_axis, slice_channels, slice_directions, to_slices
from leaf_seg.data.splits import Case
from leaf_seg.data.structure_widths import StructureWidths, measured_widths
from leaf_seg.runtime.distributed import once_per_node
from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)


@runtime_checkable
class BatchAugmentation(Protocol):
    """Augments a whole batch at a time; :class:`leaf_seg.transforms.BatchAugmentation` says what it gets."""

    def augment_batch(
        self, image: torch.Tensor, label: torch.Tensor, seeds: Sequence[int], slice_axes: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image [B, 3, H, W] and label [B, 1, H, W], augmented."""


class SliceDataset(Dataset):
    """Slices of every case at the network's size; a picture is one slice.

    Each case is loaded and preprocessed once, its slices are resized and written to disk as float16 images and uint8
    labels, and read from there by memory map: memory does not grow with the data set. Of several processes on a
    machine one does it for all.

    Args:
        data: cases, dictionaries with the paths "image" and "label".
        preprocessing: from a case to "image" [C, *spatial] in [0, 1] and "label" [1, *spatial], volumes in RAS; the
            label [R, *spatial] of several raters, for a ``rater_target``.
        image_size: (H, W) of the slices.
        axis: slicing direction of volumes: "sagittal", "coronal" or "axial"; or several: volumes are cut along each.
        num_slices: 1, or 3 for neighbouring slices as channels (2.5D).
        augmentation: :class:`BatchAugmentation` of whole batches; or a transform of single items {"image": [3, H, W],
            "label": [1, H, W], "slice_axis": int}, the last of volumes only. A MONAI ``Randomizable``, such as Compose,
            is seeded for each item that comes with a seed.
        cache_dir: where the folder of slices, ``slices_*``, is made; made where needed. The folder is removed with the
            data set; one that a process which was killed has left there is removed by the next. None is the system's
            temporary folder.
        class_names: background first; those that no case has are warned of.
        store: where slices are kept and found again, in place of ``cache_dir``; not those of a preprocessing of your
            own, of which it is not known what decides its results.
        rater_target: makes of what R raters marked in a slice what it is trained on; None: labels are of one.

    Raises:
        InputError: When there is no case, a case is unfit, or no label has any structure.
    """

    def __init__(
        self,
        data: Sequence[Case],
        preprocessing: Callable[[Case], dict[str, Any]],
        image_size: Sequence[int],
        axis: str | Sequence[str] = "axial",
        num_slices: int = 1,
        augmentation: BatchAugmentation | Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        cache_dir: str | None = None,
        class_names: Sequence[str] | None = None,
        store: CaseStore | None = None,
        rater_target: RaterTarget | None = None,
    ) -> None:
        if not data:
            raise InputError("The training split has no cases; expected at least one. Check dataset_dir and its split.")
        self.data = list(data)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.axes = slice_directions(axis)
        self.num_slices = num_slices
        self.augmentation = augmentation
        self.rater_target = rater_target
        self.stacks: list[str | None] = []  # slicing direction of each stack of slices; None is a picture
        self.index: list[tuple[int, ...]] = []  # (stack, slice), and what a subclass adds
        self.is_empty: list[bool] = []  # no foreground in the slice
        self.presence = ClassPresence(class_names)
        self.widths = StructureWidths(self.image_size, len(self.data) * len(self.axes))
        self._prefixes: list[str] = []  # of the files of each stack
        prepared = once_per_node(partial(self._prepare_all, preprocessing, cache_dir, store))
        self._prefixes, self.stacks, self.index, self.is_empty = prepared
        if augmentation is not None:
            self[0, 0]  # an augmentation that does not fit the images is an error here, not in a worker

    def _prepare_all(
        self, preprocessing: Callable[[Case], dict[str, Any]], cache_dir: str | None, store: CaseStore | None
    ) -> tuple[list[str], list[str | None], list[tuple[int, ...]], list[bool]]:
        """Prepare all slices; what the other processes of this machine have to know of them."""
        places = self._places(preprocessing, cache_dir, store)
        weakref.finalize(self, _close_in, os.getpid(), places)
        for case in tqdm(self.data, desc="Preparing slices", unit="case", leave=False):
            self._add(places.prepare(case, partial(self._cut, is_kept=isinstance(places, KeptPlaces))))
        if isinstance(places, KeptPlaces):
            places.log()
        logger.info("%d training slices of %d cases, %d empty.", len(self.index), len(self.data), sum(self.is_empty))
        self.presence.check()
        self.widths.log()
        return self._prefixes, self.stacks, self.index, self.is_empty

    def _places(
        self, preprocessing: Callable[[Case], dict[str, Any]], cache_dir: str | None, store: CaseStore | None
    ) -> ScratchPlaces | KeptPlaces:
        """Where cases are prepared: in the store, if there is one and all that decides the slices is known."""
        if store is None:
            return ScratchPlaces(cache_dir, preprocessing)
        is_known = isinstance(preprocessing, KeepablePreprocessing) and preprocessing.identity is not None
        if not is_known or not type(self).__module__.startswith("leaf_seg."):
            what = "the preprocessing or the class of the data set is one of your own"
            logger.warning("Prepared slices are not kept in %s: %s.", store.folder, what)
            return ScratchPlaces(cache_dir, preprocessing)
        settings = {
            "class": type(self).__name__,
            "image_size": self.image_size,
            "axes": self.axes,
            "num_slices": self.num_slices,
        }
        return KeptPlaces(store, settings, cast(KeepablePreprocessing, preprocessing), self.data)

    def _add(self, case: PreparedCase) -> None:
        """Take up the slices of the next case."""
        self.presence.count(case.classes)
        for prefix, facts in zip(case.prefixes, case.stacks, strict=True):
            self.index += [(len(self.stacks), *place) for place in facts.index]
            self.is_empty += facts.is_empty
            self.stacks.append(facts.axis)
            self._prefixes.append(prefix)
            self.widths.count(facts.widths)

    def _cut(self, case: dict[str, Any], is_kept: bool) -> Iterator[CutStack]:
        """The stacks of a preprocessed case; where they are kept, structures are measured for every later sample."""
        image = convert_to_tensor(case["image"], track_meta=False).float()  # [C, *spatial]
        label = convert_to_tensor(case["label"], track_meta=False)  # [1, *spatial], or [R, *spatial] of raters
        is_volume = image.ndim == 4
        for number, axis in enumerate(self.axes if is_volume else self.axes[:1], start=len(self.stacks)):
            slices = to_slices(image, axis)
            slice_channels(slices, [0], self.num_slices)  # an unfit number is an error here, not in a worker
            is_measured = is_kept or self.widths.takes(number)
            yield self._stack(slices, to_slices(label, axis), axis if is_volume else None, is_measured)

    def _stack(self, image: torch.Tensor, label: torch.Tensor, axis: str | None, is_measured: bool) -> CutStack:
        """A stack of slices, [S, C, H, W] and [S, R, H, W], as it is to be read; empty where no rater marked any."""
        labels = as_bytes(resize_label(label, self.image_size))
        facts = StackFacts(
            axis,
            index=[(number,) for number in range(len(label))],
            is_empty=(~(label > 0).flatten(1).any(dim=1)).tolist(),
            widths=measured_widths(label[:, :1], labels) if is_measured else [],  # of the first rater
        )
        return CutStack(facts, as_halves(resize_image(image, self.image_size)), labels)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """Slice ``item``, or slice and augmentation seed: "image" [3, H, W] float32 in [0, 1], "label" [1, H, W] uint8.

        Of several raters the label is what ``rater_target`` makes of theirs.

        With a seed the augmentation depends on nothing else: not on the other slices of the batch, nor on which worker
        does it, nor on what was done before.
        """
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> list[dict[str, Any]]:
        """Slices of a batch, each as of :meth:`__getitem__`; PyTorch's DataLoader calls this."""
        pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
        samples = [self._read(item, seed) for item, seed in pairs]
        if isinstance(self.augmentation, BatchAugmentation):
            return self._augmented_together(samples, [seed for _, seed in pairs])
        return [self._augmented(sample, seed) for sample, (_, seed) in zip(samples, pairs, strict=True)]

    def _read(self, item: int, seed: int | None) -> dict[str, Any]:
        number, index = self.index[item][:2]
        prefix = self._prefixes[number]
        images, labels = (np.load(slice_file(prefix, key), mmap_mode="r") for key in ("image", "label"))
        first = max(index - 1, 0)  # only the slice and its neighbours leave the disk
        rows, columns = self._window(item, images.shape[2:], seed)
        nearby = torch.from_numpy(np.array(images[first : index + 2, :, rows, columns])).float()
        axis = self.stacks[number]
        label = torch.from_numpy(np.array(labels[index, :, rows, columns]))  # [1, H, W], or [R, H, W] of raters
        return {
            "image": slice_channels(nearby, [index - first], self.num_slices)[0].contiguous(),
            "label": label if self.rater_target is None else self.rater_target(label, seed),
        } | ({} if axis is None else {"slice_axis": slice_axis(axis)})

    def _window(self, item: int, size: Sequence[int], seed: int | None) -> tuple[slice, slice]:
        """Rows and columns of a slice of this size that the item is."""
        return slice(None), slice(None)

    def _augmented(self, sample: dict[str, Any], seed: int | None) -> dict[str, Any]:
        """A slice of its own; the augmentation is also told across which axis of its volume (RAS) it lies."""
        if self.augmentation is not None:
            if seed is not None and isinstance(self.augmentation, Randomizable):
                self.augmentation.set_random_state(seed=seed)
            sample = cast(Callable[..., dict[str, Any]], self.augmentation)(sample)
        sample.pop("slice_axis", None)
        return sample

    def _augmented_together(self, samples: list[dict[str, Any]], seeds: Sequence[int | None]) -> list[dict[str, Any]]:
        augmentation = cast(BatchAugmentation, self.augmentation)
        image, label = augmentation.augment_batch(
            torch.stack([sample["image"] for sample in samples]),
            torch.stack([sample["label"] for sample in samples]),
            [int(torch.randint(2**32, ())) if seed is None else seed for seed in seeds],
            [sample.get("slice_axis", -1) for sample in samples],
        )
        return [{"image": pair[0], "label": pair[1]} for pair in zip(image, label, strict=True)]


def _close_in(process: int, places: CasePlaces) -> None:
    if os.getpid() == process:  # not in a worker, which has a copy of the owner
        places.close()


class SliceSampler(Sampler[tuple[int, int]]):
    """Every slice with foreground once an epoch, in random order, and a set share of the empty ones.

    Draws pairs of a slice and the seed of its augmentation. Order and seeds depend on seed and epoch alone.

    Args:
        dataset: whose slices are drawn.
        empty_rate: share of the empty slices drawn anew each epoch, in [0, 1].
        seed: of the order and of the augmentation; 0 or more.

    Raises:
        InputError: When the rate is no share.
    """

    def __init__(self, dataset: SliceDataset, empty_rate: float = 1.0, seed: int = 0) -> None:
        if not 0 <= empty_rate <= 1:
            raise InputError(f"empty_slice_rate is {empty_rate}; expected a share between 0 and 1.")
        self.dataset, self.empty_rate, self.seed = dataset, empty_rate, seed
        empty = torch.tensor(dataset.is_empty)
        self._filled = torch.nonzero(~empty).flatten()
        self._empty = torch.nonzero(empty).flatten()
        self._num_empty = round(empty_rate * len(self._empty))
        self._epoch = 0
        self._start = 0

    def __len__(self) -> int:
        return len(self._filled) + self._num_empty

    def start_at(self, epoch: int, position: int) -> None:
        """Let the next pass be that of ``epoch`` (from 0), without its first ``position`` slices; to resume."""
        self._epoch, self._start = epoch, position

    def __iter__(self) -> Iterator[tuple[int, int]]:
        entropy = np.random.SeedSequence((self.seed, self._epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
        start, self._start = self._start, 0
        self._epoch += 1
        drawn = self._empty[torch.randperm(len(self._empty), generator=generator)[: self._num_empty]]
        indices = torch.cat([self._filled, drawn])
        indices = indices[torch.randperm(len(indices), generator=generator)]
        seeds = torch.randint(2**32, indices.shape, generator=generator)
        yield from list(zip(indices.tolist(), seeds.tolist(), strict=True))[start:]
