"""Cases that are known before they are tested: the same file, patient or sequence in two splits, or nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leaf_seg.data.splits import SPLITS, Case
from leaf_seg.dataset_check.case_facts import CaseFacts
from leaf_seg.dataset_check.cases import UNSPLIT
from leaf_seg.dataset_check.finding import Finding
from leaf_seg.dataset_check.near_duplicates import NEAR, Nearest, nearest
from leaf_seg.runtime.text import shortened

_MANY = 0.05  # of a split's cases with a near-duplicate in training: the split leaks


@dataclass(frozen=True)
class Pair:
    """Two images that look alike.

    Attributes:
        first: path of the one, in validation or testing where the two are of different splits.
        second: path of the other.
        splits: that they belong to.
        similarity: correlation of their thumbnails.
    """

    first: str
    second: str
    splits: tuple[str, str]
    similarity: float


def same_files(digests: Sequence[str], cases: Sequence[Case], splits: Sequence[str]) -> list[Finding]:
    """Images with the same bytes, in different splits or in one.

    Args:
        digests: of the images.
        cases: that they belong to.
        splits: of the cases.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        places[digest].append(index)
    twice = [indices for indices in places.values() if len(indices) > 1]
    across = [i for indices in twice if len({splits[i] for i in indices}) > 1 for i in indices]
    within = [i for indices in twice if len({splits[i] for i in indices}) == 1 for i in indices]
    found = []
    if across:
        found.append(
            Finding(
                "error",
                "same image in two splits",
                f"{len(across)} images have the same content as one in another split.",
                "Remove the copies, or put them into one split: metrics on what was trained on are too good.",
                tuple(cases[i]["image"] for i in across),
            )
        )
    if within:
        found.append(
            Finding(
                "warning",
                "same image twice",
                f"{len(within)} images have the same content as another one.",
                "Remove the copies; a split made at random may put them apart.",
                tuple(cases[i]["image"] for i in within),
            )
        )
    return found


def shared_groups(cases: Sequence[Case], splits: Sequence[str], groups: Mapping[str, str]) -> list[Finding]:
    """Patients or sequences with cases in more than one split; groups by the image's path."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        if case["image"] in groups:
            members[groups[case["image"]]].append(index)
    shared = {group: m for group, m in members.items() if len({splits[i] for i in m}) > 1}
    if shared:
        return [
            Finding(
                "error",
                "group in two splits",
                f"{len(shared)} of {len(members)} groups (patients or sequences) have cases in more than one split: "
                f"{shortened(sorted(shared))}.",
                "Split by group, so that no patient or sequence is in two splits.",
                tuple(cases[i]["image"] for indices in shared.values() for i in indices),
            )
        ]
    if members and len(set(splits)) > 1:
        what = f"None of {len(members)} groups (patients or sequences) has cases in two splits."
        return [Finding("note", "no group in two splits", what)]
    return []


def look_alikes(facts: Sequence[CaseFacts]) -> tuple[list[Finding], list[Pair]]:
    """Images that are nearly the same, by small copies of them; and the pairs, most alike first."""
    sets = [fact.split for fact in facts]
    neighbours = nearest([fact.thumbnail for fact in facts], sets)
    if UNSPLIT in sets:
        return _unsplit(facts, neighbours)
    found: list[Finding] = []
    pairs: list[Pair] = []
    across: list[tuple[list[tuple[int, Nearest]], str]] = []
    greatest, leaks = -1.0, False
    for split, other in (("validation", "training"), ("testing", "training"), ("testing", "validation")):
        own = [index for index, name in enumerate(sets) if name == split]
        matches = [(index, neighbours[index][other]) for index in own if other in neighbours[index]]
        greatest = max([greatest, *(match.similarity for _, match in matches)])
        near = [(index, match) for index, match in matches if match.is_near]
        pairs += [_pair(facts, index, match) for index, match in near]
        if near:
            across.append((near, f"{len(near)} of {len(own)} {split} images look nearly like one in {other}"))
            leaks = leaks or len(near) > _MANY * len(own)
    if across:
        found.append(_across(facts, across, leaks))
    elif len(set(sets)) > 1 and greatest > -1:
        found.append(
            Finding(
                "note",
                "no near-duplicates across splits",
                f"No image looks nearly like one of another split: the greatest correlation is {greatest:.3f}, and "
                f"{NEAR} would be a near-duplicate.",
            )
        )
    within = [i for i, name in enumerate(sets) if name in neighbours[i] and neighbours[i][name].is_near]
    if within:
        found.append(
            Finding(
                "note",
                "near-duplicates in one split",
                f"{len(within)} of {len(facts)} images look nearly like another one of their own split.",
                "Frames of a video or neighbouring sections do; such a set has fewer independent cases than files.",
                tuple(facts[i].case["image"] for i in within),
            )
        )
    return found, sorted(pairs, key=lambda pair: -pair.similarity)


def _across(facts: Sequence[CaseFacts], across: list[tuple[list[tuple[int, Nearest]], str]], leaks: bool) -> Finding:
    indices = sorted({index for near, _ in across for index, _ in near})
    return Finding(
        "error" if leaks else "warning",
        "near-duplicates across splits",
        f"{'; '.join(what for _, what in across)} (correlation of small copies {NEAR} or more).",
        "The split leaks, and metrics on it are too good: split by patient or sequence (frames of one video belong "
        "together), or remove the copies.",
        tuple(facts[index].case["image"] for index in indices),
    )


def _unsplit(facts: Sequence[CaseFacts], neighbours: list[dict[str, Nearest]]) -> tuple[list[Finding], list[Pair]]:
    alone = [(index, place[UNSPLIT]) for index, place in enumerate(neighbours) if UNSPLIT in place]
    near = [(index, match) for index, match in alone if match.is_near]
    if not near:
        return [], []
    pairs = {frozenset((i, match.index)): _pair(facts, i, match) for i, match in near}
    finding = Finding(
        "warning",
        "near-duplicates",
        f"{len(near)} of {len(facts)} images look nearly like another one, and the data set has no split: one made at "
        "random would leak.",
        "Give a split.json that keeps a patient or sequence in one split.",
        tuple(facts[index].case["image"] for index, _ in near),
    )
    return [finding], sorted(pairs.values(), key=lambda pair: -pair.similarity)


def _pair(facts: Sequence[CaseFacts], index: int, match: Nearest) -> Pair:
    one, other = facts[index], facts[match.index]
    return Pair(one.case["image"], other.case["image"], (one.split, other.split), match.similarity)


def in_splits(splits: dict[str, list[Case]]) -> Iterable[tuple[str, Case]]:
    """Every case with the name of its split, training first."""
    return ((split, case) for split in (*SPLITS, UNSPLIT) for case in splits.get(split, []))
