"""The tiny autoencoder TAESD in its author's layout as diffusers' AutoencoderTiny."""

from __future__ import annotations

import os
import re
from pathlib import Path

from diffusers import AutoencoderTiny

from leaf_seg.weights.assembly import SourceKey, State, assemble, building, shape_of
from leaf_seg.weights.tensor_file import PICKLE_SUFFIXES, SAFE_SUFFIX, read_tensors

WHAT = "TAESD"


def taesd_files(folder: str | os.PathLike[str]) -> tuple[Path, Path] | None:
    """The author's two files, encoder and decoder, in a folder; None where they are not both there."""
    for suffix in (SAFE_SUFFIX, *PICKLE_SUFFIXES):
        encoder, decoder = (Path(folder) / f"taesd_{part}{suffix}" for part in ("encoder", "decoder"))
        if encoder.is_file() and decoder.is_file():
            return encoder, decoder
    return None


def taesd(encoder_file: Path, decoder_file: Path) -> AutoencoderTiny:
    """Build the AutoencoderTiny that computes what the two files do, in fp32.

    Raises:
        InputError: When a file cannot be read or does not fit.
    """
    source = {
        f"{part}.{key}": tensor
        for part, file in (("encoder", encoder_file), ("decoder", decoder_file))
        for key, tensor in read_tensors(file).items()
    }
    with building(WHAT):
        autoencoder = AutoencoderTiny(latent_channels=shape_of(source, "decoder.1.weight", WHAT, 4)[1])
    shapes = {key: tensor.shape for key, tensor in autoencoder.state_dict().items()}
    state: State = assemble(source, shapes, _source_key, WHAT)
    autoencoder.load_state_dict({key: tensor.float() for key, tensor in state.items()}, assign=True)
    return autoencoder.eval()


def _source_key(name: str) -> SourceKey:
    """The author's name; layer 0 of his decoder is a clamp without weights, which diffusers does not count."""
    match = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(.*)", name)
    assert match is not None, name
    return SourceKey(f"{match[1]}.{int(match[2]) + (match[1] == 'decoder')}.{match[3]}")
