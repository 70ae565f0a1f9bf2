"""Segments files one after the other, without configs or engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from leaf_seg.data.checks import check_mirrored
from leaf_seg.inference.faults import fault_of
from leaf_seg.inference.segmentation_report import SegmentationReport
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.inference.segmenter import Segmenter
from leaf_seg.runtime.termination import interruptible, raise_if_interrupted


def segment_files(
    segmenter: Segmenter,
    sources: Sequence[str],
    writer: SegmentationWriter,
    num_samples: int | None = None,
    report: SegmentationReport | None = None,
) -> None:
    """Segment images and write what they give; an image that cannot be segmented does not stop the others.

    Args:
        segmenter: of a trained model.
        sources: image files.
        writer: of the results, which says at the end, or when interrupted, what was written.
        num_samples: hypotheses of an image; the segmenter's own number unless given.
        report: tables that are wanted besides, written at the end, or when interrupted.

    Raises:
        InputError: Before the first image, when the options fit none or two images would be written as the same case;
            later, when a result cannot be written.
        FaultyImages: At the end, when some images could not be segmented.
    """
    segmenter.check(num_samples)
    check_mirrored(sources, segmenter.settings.mirror_axes, segmenter.settings.reading)
    writer.begin(sources)
    try:
        _segment_each(segmenter, sources, writer, num_samples, report)
    except KeyboardInterrupt:
        _tell(writer, report)
        raise
    _tell(writer, report)
    writer.conclude()


def _tell(writer: SegmentationWriter, report: SegmentationReport | None) -> None:
    writer.tell()
    if report is not None:
        report.write()


def _segment_each(
    segmenter: Segmenter,
    sources: Sequence[str],
    writer: SegmentationWriter,
    num_samples: int | None,
    report: SegmentationReport | None,
) -> None:
    with interruptible():
        for source in tqdm(sources, desc="Segmenting", unit="image"):
            raise_if_interrupted()
            try:
                item = _segmented(segmenter, source, num_samples, writer.save_probabilities)
            except Exception as error:
                raise_if_interrupted()
                reason = fault_of(error, source)
                if reason is None:
                    raise
                writer.give_up(source, reason)
                _note(report, source, writer)
            else:
                writer.save(source, item)
                _note(report, source, writer, item)
                del item  # before the next image is read


def _note(
    report: SegmentationReport | None, source: str, writer: SegmentationWriter, item: dict[str, Any] | None = None
) -> None:
    """Tell the report of an image that is done with."""
    if report is None:
        return
    result = writer.result_of(source)
    if isinstance(result, str) or item is None:
        report.give_up(source, str(result))
    else:
        report.add(source, result, item["pred"][0], item["expected_dice"])


def _segmented(segmenter: Segmenter, source: str, num_samples: int | None, probabilities: bool) -> dict[str, Any]:
    """What the writer takes of one image."""
    result = segmenter(source, num_samples=num_samples, probabilities=probabilities)
    item: dict[str, Any] = {"pred": result.label[None], "expected_dice": list(result.expected_dice.values())}
    if probabilities:
        item["probabilities"] = result.probabilities
    if result.variance is not None and result.entropy is not None:
        item |= {"variance": result.variance[None], "entropy": result.entropy[None]}
    return item
