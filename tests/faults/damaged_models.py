"""Damaged and hostile model folders, made from a whole one."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.model_files import sealed_again

DEEP = "[" * 100_000
_ENCODER = ("network", "image_encoder", "autoencoder")
_SCHEDULER = ("network", "diffusion", "scheduler")
_UNET = ("network", "unet")


@dataclass(frozen=True)
class Damage:
    """What is done to a model folder, and what the refusal has to say.

    Attributes:
        name: of the test.
        inflict: changes the folder.
        words: that stand in the message.
    """

    name: str
    inflict: Callable[[Path], object]
    words: tuple[str, ...]


def _setting(path: tuple[str, ...], value: Any, *words: str) -> Damage:
    """A value in config.json, with checksums that are right."""

    def change(config: dict[str, Any]) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    shown = f"{'.'.join(path[1:])}={str(value)[:24]}"
    return Damage(shown, lambda folder: sealed_again(folder, change), ("config.json", *(words or (f"{path[-1]} is",))))


def settings() -> list[Damage]:
    """Numbers that would take hours or all memory, that make no sense, and values of other types."""
    sizes = [
        _setting((*_UNET, "layers_per_block"), 10**6, "layers_per_block is 1000000; expected a whole number, 1 to 16"),
        _setting((*_UNET, "block_out_channels"), [8, 10**9]),
        _setting((*_UNET, "block_out_channels"), [8] * 10**5),
        _setting((*_UNET, "block_out_channels"), [8192] * 10, "about 4e+10 parameters"),
        _setting((*_UNET, "in_channels"), 10**9),
        _setting((*_UNET, "num_class_embeds"), 10**12),
        _setting((*_UNET, "norm_num_groups"), 0),
        _setting((*_UNET, "attention_head_dim"), -1),
        _setting((*_UNET, "norm_eps"), 0),
        _setting((*_UNET, "dropout"), 1.5),
        _setting((*_ENCODER, "layers_per_block"), 10**6),
        _setting((*_ENCODER, "block_out_channels"), [8] * 10**5),
        _setting((*_ENCODER, "latent_channels"), 10**9),
        *(_setting((*_ENCODER, "scaling_factor"), value) for value in (0, -0.7, 1e308, "0.7", None, True, [0.7])),
        *(_setting((*_SCHEDULER, "num_train_timesteps"), value) for value in (10**8, 0, -5, 1000.5, "1000", True)),
        *(_setting((*_SCHEDULER, "beta_start"), value) for value in (0, -0.1, 2, "small", 0.5)),
        _setting((*_SCHEDULER, "beta_end"), 1.5),
        _setting((*_SCHEDULER, "trained_betas"), [0.5, -1]),
        _setting((*_SCHEDULER, "clip_sample"), "false"),
        *(_setting(("network", "codec", "num_classes"), value) for value in (10**9, 1, 3.0, True, "3")),
        *(_setting(("network", "image_size"), v) for v in ([10**9] * 2, "16", [16], [16.0, 16.0], [0, 0], [-16, 16])),
        *(_setting(("network", "noise_seed"), value) for value in (2**64, 0.5, True, "1", None)),
        _setting(("network", "image_encoder", "scaled"), "false"),
        _setting(("network", "sampler"), {"_class_name": "Ddim", "num_steps": 0}, "num_steps is 0"),
    ]
    kinds = [
        _setting(("network", "_class_name"), "os.system", "'os.system' is not known"),
        _setting(("network", "_class_name"), ["LatentSegmenter"], "is not known"),
        *(_setting(_UNET, value, "expected a part") for value in (None, [1], "UNet2DModel", 5)),
        _setting(("network", "image_encoder"), [1], "expected a part"),
        _setting((*_UNET, "_class_name"), "Sequential", "'Sequential' is not known"),
        _setting((*_ENCODER, "_class_name"), "AutoencoderDC", "'AutoencoderDC'"),
        _setting((*_UNET, "down_block_types"), ["$__import__('os')", "DownBlock2D"], "no model that this version"),
        _setting(("network", "strange\n\x1b[31m"), 1, "no model that this version"),
        _setting(("network",), [], "expected the keys network and settings"),
        Damage("weights=elsewhere", _weights_elsewhere, ("config.json", "../model.pt", "name and the checksum")),
        _setting(("training",), 3, "expected the keys"),
        _setting(("training", "terminal_probability"), "$__import__('os')"),
        _setting(("training", "train_decoder"), "false"),
    ]
    inputs = [
        *(_setting(("settings", "class_names"), v) for v in ("abc", ["a"], ["a", "b", "b"], [1, 2, 3], None, {"a": 1})),
        _setting(("settings", "class_names"), ["a", "b"], "3 classes", "2 classes"),
        _setting(("settings", "image_size"), [32, 32], "(16, 16)", "(32, 32)"),
        *(_setting(("settings", "num_slices"), value) for value in (2, 10**9, "1")),
        *(_setting(("settings", "axis"), value) for value in ("up", 3, [["axial"]])),
        *(_setting(("settings", "window"), value) for value in ([0], ["a", "b"], [5, 1], 7)),
        *(_setting(("settings", "spacing"), value) for value in ([0, 0, 0], [1, 1], [1, -1, 1])),
        _setting(("settings", "mirror_axes"), [5]),
        _setting(("settings", "strange"), 1, "strange"),
    ]
    return [*sizes, *kinds, *inputs]


def _weights_elsewhere(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]
    config["weights"]["file"] = "../model.pt"
    (folder / "config.json").write_text(json.dumps(config))


def texts() -> list[Damage]:
    """A config.json that is no JSON, or none that can be meant."""
    long = '{"network": {}, "settings": {}, "training": {"x": %s}}'
    contents = {
        "empty": (b"", "cannot be read as JSON"),
        "deep": (DEEP.encode(), "cannot be read as JSON"),
        "deep_objects": (b'{"a":' * 100_000, "cannot be read as JSON"),
        "nan": ((long % "NaN").encode(), "NaN is no JSON"),
        "infinity": ((long % "-Infinity").encode(), "-Infinity is no JSON"),
        "too_large": ((long % "1e999").encode(), "1e999 is too large"),
        "digits": ((long % ("1" * 100_000)).encode(), "cannot be read as JSON"),
        "twice": (b'{"network": {}, "settings": {}, "network": {}}', "'network' is there twice"),
        "latin_1": ('{"network": {}, "settings": {"a": "\xe9"}}'.encode("latin-1"), "utf-8"),
        "utf_16": ('{"network": {}, "settings": {}}'.encode("utf-16"), "utf-8"),
        "zeros": (b"\0" * 4096, "cannot be read as JSON"),
        "huge": (b" " * (33 * 1024**2), "more than 32 MB"),
        "list": (b"[]", "holds a list"),
        "html": (b"<html></html>", "cannot be read as JSON"),
    }
    damages = [
        Damage(name, lambda folder, content=content: (folder / "config.json").write_bytes(content), (words,))  # type: ignore[misc]
        for name, (content, words) in contents.items()
    ]
    return [
        *damages,
        Damage("folder", lambda folder: _instead(folder / "config.json", os.mkdir), ("No config.json",)),
        Damage("pipe", lambda folder: _instead(folder / "config.json", os.mkfifo), ("No config.json",)),
        Damage("loop", lambda folder: _instead(folder / "config.json", _link_to_itself), ("No config.json",)),
    ]


def _instead(file: Path, make: Callable[[Path], object]) -> None:
    file.unlink()
    make(file)


def _link_to_itself(file: Path) -> None:
    file.symlink_to(file.name)


def _weights(name: str, change: Callable[[dict[str, Any]], Any], *words: str) -> Damage:
    """Another content of model.pt, with checksums that are right."""

    def inflict(folder: Path) -> None:
        file = folder / "model.pt"
        torch.save(change(torch.load(file, weights_only=True)), file)
        sealed_again(folder)

    return Damage(name, inflict, ("model.pt", *words))


def _each(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key: change(value) for key, value in state.items()}


def _one(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: state | {"unet.conv_in.bias": change(state["unet.conv_in.bias"])}


def weights() -> list[Damage]:
    """Tensors that are no plain finite numbers, and files that claim more than they hold."""
    nested = torch.nested.nested_tensor([torch.zeros(8)], layout=torch.jagged)
    tensors = [
        _weights("nan", _one(lambda value: value * float("nan")), "NaN or infinite", "unet.conv_in.bias"),
        _weights("inf", _one(lambda value: value + float("inf")), "NaN or infinite", "unet.conv_in.bias"),
        _weights("sparse", _each(lambda value: value.to_sparse()), "sparse"),
        _weights("quantised", _one(_quantised), "quantised"),
        _weights("meta", _each(lambda value: value.to("meta")), "meta"),
        _weights("complex", _one(lambda value: value.to(torch.complex64)), "complex64"),
        _weights("float8", _one(lambda value: value.to(torch.float8_e4m3fn)), "float8"),
        _weights("nested", _one(lambda _: nested), "model.pt"),
        _weights("int", _one(lambda value: value.int()), "another kind of number", "int32"),
        _weights("bool", _each(lambda value: value.bool()), "another kind of number"),
        _weights("repeated", _one(lambda _: torch.zeros(1).expand(10**12)), "repeats its numbers"),
        _weights("whole_numbers", lambda state: dict(enumerate(state.values())), "holds no state dictionary"),
        _weights("deep", lambda state: {"a": {"b": {"model": state}}}, "holds no state dictionary"),
        _weights("key", lambda state: state | {"a\n\x1b[31m" * 10_000: torch.zeros(1)}, "1 unexpected"),
        _weights("shapes", _each(lambda value: value[None]), "shapes differ"),
    ]
    files = {
        "zip_claims": (_zip_that_claims, "model.pt"),
        "zip_sum": (_zip_with_a_wrong_sum, "checksum of"),
        "text": (lambda file: file.write_text("hello"), "cannot be read as weights"),
    }
    return [*tensors, *(_file(name, make, words) for name, (make, words) in files.items()), *_safetensors()]


def _quantised(value: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def _file(name: str, make: Callable[[Path], object], words: str) -> Damage:
    def inflict(folder: Path) -> None:
        make(folder / "model.pt")
        sealed_again(folder)

    return Damage(name, inflict, ("model.pt", words))


def _zip_bomb(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("data.pkl", "data/0"):
            archive.writestr(f"archive/{name}", b"\0" * (80 * 1024**2))
        archive.writestr("archive/version", "3\n")


def _zip_that_claims(file: Path) -> None:
    """The list says that a storage is of 10^12 numbers."""
    torch.save({"a": torch.zeros(77)}, file)
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    listed = next(name for name in content if name.endswith("data.pkl"))
    claim = b"\x8a\x06" + (10**12).to_bytes(6, "little")  # pickle's LONG1
    content[listed] = content[listed].replace(b"K\x4d", claim)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def _zip_with_a_wrong_sum(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        largest = archive.read(max(archive.infolist(), key=lambda entry: entry.file_size))
    data = bytearray(file.read_bytes())
    data[data.index(largest) + len(largest) // 2] ^= 1
    file.write_bytes(data)


def _safetensors() -> Iterator[Damage]:
    claim = {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    contents = {
        "claims": (_header(json.dumps(claim).encode()), "cannot be read as weights"),
        "header": (_header(b"{}", 2**62), "cannot be read as weights"),
        "deep": (_header(b'{"a":' + DEEP.encode()), "cannot be read as weights"),
        "nothing": (_header(b"{}"), "does not fit"),
    }
    for name, (content, words) in contents.items():
        yield _safetensors_of(name, content, words)


def _safetensors_of(name: str, content: bytes, words: str) -> Damage:
    """A folder with model.safetensors, of before there were checksums."""

    def inflict(folder: Path) -> None:
        (folder / "model.pt").unlink()
        (folder / "model.safetensors").write_bytes(content)
        config = json.loads((folder / "config.json").read_text())
        del config["weights"], config["sha256"]
        (folder / "config.json").write_text(json.dumps(config))

    return Damage(f"safetensors_{name}", inflict, ("model.safetensors", words))


def _header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def large() -> list[Damage]:
    """Weights that take a second to make."""
    empty = {str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(110_000)}
    return [
        _weights("shared", lambda _: dict.fromkeys(map(str, range(10_000)), torch.zeros(10**6)), "very many names"),
        _weights("many", lambda _: dict.fromkeys(map(str, range(100_001)), torch.zeros(1)), "100001 tensors"),
        _file("zip_bomb", _zip_bomb, "compressed archive"),
        _safetensors_of("many", _header(json.dumps(empty).encode()), "110000 tensors"),
    ]


def flipped(file: Path, bit: int) -> None:
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
