"""The networks that a model folder may hold, by the name of their class in its config.json."""

from __future__ import annotations

from leaf_seg.networks.basic_unet import BasicUNetSegmenter
from leaf_seg.networks.class_pass_segmenter import ClassPassSegmenter
from leaf_seg.networks.dynunet import DynUNetSegmenter
from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.probabilistic_unet import ProbabilisticUNetSegmenter
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.networks.segresnet import SegResNetSegmenter
from leaf_seg.networks.swin_unet import SwinUNetSegmenter
from leaf_seg.networks.transunet import TransUNetSegmenter

# One network more is one class more here.
NETWORKS: dict[str, type[SavedNetwork]] = {
    cls.__name__: cls
    for cls in (
        LatentSegmenter,
        ClassPassSegmenter,
        BasicUNetSegmenter,
        DynUNetSegmenter,
        ProbabilisticUNetSegmenter,
        SegResNetSegmenter,
        SwinUNetSegmenter,
        TransUNetSegmenter,
    )
}
