"""The networks that a model folder may hold."""

from __future__ import annotations

from typing import get_args

from leaf_seg.networks.basic_unet import BasicUNetSegmenter
from leaf_seg.networks.dynunet import DynUNetSegmenter
from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.segresnet import SegResNetSegmenter

# One network more is one class more here. It has `forward(image)`, from [B, 3 or 1, H, W] in [0, 1] to class
# probabilities [B, K, H, W]; `num_classes`; `image_size`; and a plain `config`, from which `from_config` builds it.
SavedNetwork = LatentSegmenter | BasicUNetSegmenter | DynUNetSegmenter | SegResNetSegmenter

NETWORKS: dict[str, type[SavedNetwork]] = {cls.__name__: cls for cls in get_args(SavedNetwork)}
