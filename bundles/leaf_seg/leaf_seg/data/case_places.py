"""Where the slices of a data set's cases are prepared: for one training, or kept for the next ones."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from monai.utils import convert_to_tensor
from tqdm import tqdm

from leaf_seg.data.case_identity import case_identity, preparation_identity
from leaf_seg.data.case_store import CaseStore
from leaf_seg.data.class_presence import classes_in
from leaf_seg.data.prepared_case import CutStack, PreparedCase
from leaf_seg.data.splits import Case
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder

logger = logging.getLogger(__name__)

_PREFIX = "slices_"

# Cuts a preprocessed case into its stacks.
Cut = Callable[[dict[str, Any]], Iterable[CutStack]]


@runtime_checkable
class KeepablePreprocessing(Protocol):
    """What a preprocessing has whose results can be kept, as that of :mod:`leaf_seg.transforms.preprocessing`."""

    @property
    def identity(self) -> str | None:
        """All that decides the results, beside the files and the code; None where that is not known."""

    def noted(self, case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A case prepared, and plain values for :meth:`recall`."""

    def recall(self, case: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """What preparing a case does beside its result."""


class CasePlaces(Protocol):
    """Where cases are prepared."""

    def prepare(self, case: Case, cut: Cut) -> PreparedCase:
        """The slices of a case, on disk."""

    def close(self) -> None:
        """What is to be done when they are not needed any more."""


class ScratchPlaces:
    """One folder for all cases, which is removed at the end.

    Args:
        parent: where it is made; None is the system's temporary folder. Made where needed; a folder that a process
            which was killed has left there is removed.
        preprocessing: of the cases.
    """

    def __init__(self, parent: str | None, preprocessing: Callable[[Case], dict[str, Any]]) -> None:
        folder = ensure_writable_folder(tempfile.gettempdir() if parent is None else parent)
        remove_abandoned(folder, _PREFIX)
        self._preprocessing = preprocessing
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch_folder(folder, _PREFIX))
        self._num_stacks = 0

    def prepare(self, case: Case, cut: Cut) -> PreparedCase:
        """Write the slices of a case."""
        loaded = self._preprocessing(case)
        prepared = _written(loaded, cut, self._folder, self._num_stacks)
        self._num_stacks += len(prepared.stacks)
        return prepared

    def close(self) -> None:
        """Remove the folder."""
        self._stack.close()


class KeptPlaces:
    """A folder for each case, which stays for other trainings; those that are there are not prepared again.

    Args:
        store: of the cases.
        settings: plain values, what decides the slices beside the preprocessing.
        preprocessing: of the cases, with an identity.
        data: the cases.

    Raises:
        InputError: When a file of a case cannot be read, or the store cannot be used.
    """

    def __init__(
        self,
        store: CaseStore,
        settings: Mapping[str, Any],
        preprocessing: KeepablePreprocessing,
        data: Sequence[Case],
    ) -> None:
        self._identity = preparation_identity({**settings, "preprocessing": preprocessing.identity})
        self._preprocessing = preprocessing
        progress = tqdm(data, desc="Looking for prepared slices", unit="case", leave=False)
        self._names = [case_identity(case, self._identity) for case in progress]
        self._use = store.use(set(self._names))
        self._num_seen = self._num_found = 0

    def prepare(self, case: Case, cut: Cut) -> PreparedCase:
        """The slices of the next case that are there, or else are written now."""
        name = self._names[self._num_seen]
        self._num_seen += 1
        found = self._use.get(name)
        if found is None:
            return self._prepared_now(name, case, cut)
        folder, record = found
        self._num_found += 1
        self._preprocessing.recall(case, record["notes"])
        return PreparedCase.from_dict(record, _prefixes(folder, len(record["stacks"])))

    def _prepared_now(self, name: str, case: Case, cut: Cut) -> PreparedCase:
        loaded, notes = self._preprocessing.noted(case)
        folder = self._use.new_folder()
        prepared = _written(loaded, cut, folder, reserve=self._use.reserve)
        if case_identity(case, self._identity) != name:  # its files have changed since: for this training only
            return prepared
        folder = self._use.publish(folder, name, {**prepared.to_dict(), "notes": notes})
        return replace(prepared, prefixes=_prefixes(folder, len(prepared.stacks)))

    def log(self) -> None:
        """Say how many cases were there."""
        logger.info("%d of %d cases were prepared before; from %s.", self._num_found, self._num_seen, self._use.folder)

    def close(self) -> None:
        """Let others remove the slices, where they are too many."""
        self._use.close()


def _written(
    loaded: dict[str, Any], cut: Cut, folder: Path, first: int = 0, reserve: Callable[[int], None] | None = None
) -> PreparedCase:
    """Write the stacks of a preprocessed case, one after the other, from that number on."""
    facts = []
    for number, stack in enumerate(cut(loaded), start=first):
        if reserve is not None:
            reserve(stack.nbytes)
        stack.save(_prefix(folder, number))
        facts.append(stack.facts)
    classes = classes_in(convert_to_tensor(loaded["label"], track_meta=False))
    return PreparedCase(_prefixes(folder, len(facts), first), facts, classes)


def _prefixes(folder: Path, count: int, first: int = 0) -> list[str]:
    return [_prefix(folder, number) for number in range(first, first + count)]


def _prefix(folder: Path, number: int) -> str:
    return str(folder / f"{number:06d}")
