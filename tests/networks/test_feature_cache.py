from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose, RandFlipd
from torch import nn

from leaf_seg.networks import CachedNetwork, FeatureCache, LatentPart, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import autocast
from leaf_seg.transforms import (
    BatchAffine,
    BatchAugmentation,
    BatchGamma,
    BatchMirror,
    BatchNoise,
    BatchTransform,
)

CPU = torch.device("cpu")


def make_labels(number: int = 4) -> torch.Tensor:
    return torch.randint(0, 3, (number, 1, 16, 16), generator=torch.Generator().manual_seed(4)).byte()


@pytest.fixture
def encoder(make_autoencoder: Callable[..., Autoencoder]) -> MaskEncoder:
    return MaskEncoder(make_autoencoder(), MaskCodec(3))


class Counting(nn.Module):
    """A frozen network that says how often it was called."""

    def __init__(self, encoder: MaskEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config
        self.batches: list[int] = []

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(label))
        return self.encoder(label)


def cached(folder: Path, network: nn.Module, limit_gb: float = 1, precision: str = "fp32") -> CachedNetwork:
    return FeatureCache(folder, limit_gb).of(network, precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_what_is_kept_is_what_is_computed_to_the_last_bit(
    tmp_path: Path, kind: str, precision: str, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    network = Counting(MaskEncoder(make_autoencoder(kind), MaskCodec(3)))
    labels = make_labels(6)
    for _ in range(2):
        encode = cached(tmp_path, network, precision=precision)
        for items in ([0, 1, 2, 3], [2, 0, 4, 5], [5, 4, 3, 1], [1], [2, 0], [0, 2]):
            with autocast(CPU, precision):
                expected = network.encoder(labels[items])
                found = encode(labels[items], labels[items])
            assert torch.equal(found, expected)
            assert found.stride() == expected.stride()
            assert found.dtype == expected.dtype == torch.float32
    assert network.batches == [4, 4, 1, 2]  # whole ones; two of the first time, and all of the second, were kept


def test_hits_are_counted_and_told(tmp_path: Path, encoder: MaskEncoder) -> None:
    encode, labels = cached(tmp_path, encoder), make_labels()
    encode(labels, labels)
    encode(labels, labels)
    assert (encode.cache.num_items, encode.cache.num_hits) == (8, 4)
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert encode.cache.summary() == (
        f"Features in {tmp_path}: 4 entries, {size / 1e9:.3f} of 1 GB; 4 of 8 look-ups (50%) found theirs."
    )


def test_another_network_has_other_entries(tmp_path: Path, encoder: MaskEncoder) -> None:
    labels = make_labels()
    changed, scaled = copy.deepcopy(encoder), copy.deepcopy(encoder)
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-6
    scaled.encoder.config["scaled"] = False
    more_classes = MaskEncoder(encoder_autoencoder(encoder), MaskCodec(4))
    for network in (encoder, changed, scaled, more_classes):
        encode = cached(tmp_path, network)
        encode(labels, labels)
        assert encode.cache.num_hits == 0
    bf16 = cached(tmp_path, encoder, precision="bf16")
    bf16(labels, labels)
    assert bf16.cache.num_hits == 0
    again = cached(tmp_path, copy.deepcopy(encoder))
    again(labels, labels)
    assert again.cache.num_hits == 4


def encoder_autoencoder(encoder: MaskEncoder) -> Any:
    from leaf_seg.networks.autoencoder import autoencoder_from_config

    return autoencoder_from_config(encoder.encoder.config["autoencoder"])


def test_the_layout_in_memory_is_part_of_what_is_kept(tmp_path: Path, encoder: MaskEncoder) -> None:
    """Since the last bits depend on it."""
    labels = make_labels()
    cached(tmp_path, encoder)(labels, labels)
    encoder.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # which PyTorch has
    encode = cached(tmp_path, encoder)
    encode(labels, labels)
    assert encode.cache.num_hits == 0


def test_a_batch_lies_in_memory_as_the_network_gives_it(tmp_path: Path) -> None:
    """Noise like it would be drawn in another order otherwise."""

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config: dict[str, Any] = {}

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image * 2).contiguous(memory_format=torch.channels_last)

    image, encode = torch.rand(3, 4, 5, 6), cached(tmp_path, ChannelsLast())
    computed, found = encode(image, image), encode(image, image)
    assert encode.cache.num_hits == 3
    assert torch.equal(found, computed)
    assert found.stride() == computed.stride() != image.stride()


def test_the_number_of_threads_is_part_of_what_is_kept(tmp_path: Path, encoder: MaskEncoder) -> None:
    """Since the last bits depend on it."""
    labels = make_labels()
    cached(tmp_path, encoder)(labels, labels)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        other = cached(tmp_path, encoder)
    finally:
        torch.set_num_threads(threads)
    other(labels, labels)
    assert other.cache.num_hits == 0


def test_one_pixel_makes_another_item(tmp_path: Path, encoder: MaskEncoder) -> None:
    encode, labels = cached(tmp_path, encoder), make_labels()
    encode(labels, labels)
    labels[2, 0, 5, 5] = (labels[2, 0, 5, 5] + 1) % 3
    assert torch.equal(encode(labels, labels), encoder(labels))
    assert encode.cache.num_hits == 0  # of the whole batch
    assert encode.cache.store.measure()[0] == 5


def test_a_damaged_entry_is_computed_again(
    tmp_path: Path, encoder: MaskEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    labels = make_labels()
    expected = cached(tmp_path, encoder)(labels, labels)
    file = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file())
    content = bytearray(file.read_bytes())
    content[-100] ^= 16
    file.write_bytes(content)
    encode = cached(tmp_path, encoder)
    for hits in (0, 4):
        assert torch.equal(encode(labels, labels), expected)
        assert encode.cache.num_hits == hits
    assert sum("is damaged" in record.message for record in caplog.records) == 1


def test_a_full_cache_is_told_once_and_goes_on(
    tmp_path: Path, encoder: MaskEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    labels = make_labels(8)
    cached(tmp_path / "one", encoder)(labels[:1], labels[:1])
    size = FeatureCache(tmp_path / "one", 1).store.measure()[1]
    with caplog.at_level(logging.INFO):
        encode = cached(tmp_path / "cache", encoder, limit_gb=5.5 * size / 1e9)
        for _ in range(2):
            for part in (labels[:4], labels[4:]):
                assert torch.equal(encode(part, part), encoder(part))
    assert encode.cache.store.measure() == (5, 5 * size)
    assert encode.cache.num_hits == 4
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1
    assert "full" in messages[0]
    assert "5 entries" in messages[0]
    assert "feature_cache_gb" in messages[0]


def test_a_repeated_channel_is_the_same_content(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config: dict[str, Any] = {}

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.mean((2, 3))

    image = torch.rand(2, 1, 4, 4)
    features = cached(tmp_path, Mean())(image.expand(-1, 3, -1, -1), image)
    assert features.shape == (2, 3)


def test_inputs_that_are_not_what_was_loaded_are_refused(tmp_path: Path, encoder: MaskEncoder) -> None:
    labels = make_labels()
    with pytest.raises(InputError, match="prepare_batch changes it"):
        cached(tmp_path, encoder)(labels.flip(2), labels)


def test_networks_that_cannot_be_told_apart_or_change_are_refused(tmp_path: Path, encoder: MaskEncoder) -> None:
    class Nameless(LatentPart):
        pass

    with pytest.raises(InputError, match="Nameless has no config"):
        cached(tmp_path, Nameless())
    with pytest.raises(InputError, match="MaskEncoder is trained"):
        cached(tmp_path, encoder.requires_grad_())
    assert not any(tmp_path.iterdir())


class QuarterTurn(BatchTransform):
    """Somebody's own, which is finite."""

    @property
    def is_finite(self) -> bool:
        return True

    def apply(self, batch: Any, items: list[int], generators: Sequence[torch.Generator]) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    "augmentation",
    [
        None,
        BatchAugmentation([]),
        BatchAugmentation([BatchMirror([0.5, 0.5]), BatchAffine(0, rotation=0.2), QuarterTurn(0.5)]),
    ],
)
def test_augmentation_that_allows_it(tmp_path: Path, augmentation: object) -> None:
    assert FeatureCache(tmp_path / "features", 1, augmentation)
    assert not any(tmp_path.iterdir())  # opened at the first use


@pytest.mark.parametrize(
    ("augmentation", "found"),
    [
        (
            BatchAugmentation([BatchMirror([0.5, 0.5]), BatchGamma(0.1, [0.7, 1.4]), BatchNoise(0.1, 0.1)]),
            r"feature_cache_gb is 2, but train#augmentation has BatchGamma, BatchNoise, ",
        ),
        (Compose([RandFlipd(["image", "label"])]), r"train#augmentation is a Compose, "),
    ],
)
def test_augmentation_that_does_not(tmp_path: Path, augmentation: object, found: str) -> None:
    with pytest.raises(InputError, match=found) as error:
        FeatureCache(tmp_path, 2, augmentation)
    assert "--feature_cache_gb '$None'" in str(error.value)
    assert "\n" not in str(error.value)
