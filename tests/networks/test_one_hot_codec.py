from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from leaf_seg.networks import LatentSegmenter, MaskEncoder, OneHotCodec
from leaf_seg.networks.reconstruction import MaskRoundTrip
from leaf_seg.runtime.errors import InputError


def test_there_and_back() -> None:
    label = torch.randint(0, 4, (2, 1, 8, 8))
    codec = OneHotCodec(4)
    images = codec.encode(label)
    assert images.shape == (2, 4, 8, 8)
    assert torch.equal(images.sum(dim=1), torch.full((2, 8, 8), -2.0))  # one of four is 1
    assert torch.equal(images.argmax(dim=1, keepdim=True), label)
    torch.testing.assert_close(codec.decode(images.half()), images.softmax(dim=1))
    assert codec.decode(images.half()).dtype == torch.float32
    assert OneHotCodec.from_config(codec.config).config == codec.config


@pytest.mark.parametrize("use", [MaskEncoder, MaskRoundTrip])
def test_an_autoencoder_of_other_classes_is_refused(use: Any, make_autoencoder: Callable[..., Any]) -> None:
    use(make_autoencoder("vq"), OneHotCodec(3))
    with pytest.raises(InputError, match=r"takes 3 channels and gives 3; expected 4, of a OneHotCodec for 4 classes"):
        use(make_autoencoder("vq"), OneHotCodec(4))


def test_autoencoders_that_do_not_go_together(make_segmenter: Callable[..., LatentSegmenter]) -> None:
    network = make_segmenter()
    config = network.config
    encoder, decoder = config["image_encoder"]["autoencoder"], config["mask_decoder"]["autoencoder"]
    shallow = {key: value[:2] for key, value in decoder.items() if key.endswith(("_types", "_out_channels"))}
    for part, autoencoder, message in (
        ("image_encoder", encoder | {"in_channels": 2}, r"takes 2 channels; expected 3\. Is it that of label maps"),
        ("mask_decoder", decoder | shallow, "divides them by 4, that of label maps by 2; expected the same"),
    ):
        with pytest.raises(InputError, match=message):
            LatentSegmenter.from_config(config | {part: config[part] | {"autoencoder": autoencoder}})
