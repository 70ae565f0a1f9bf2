"""ONNX files: what is in them, and those that are somebody else's or damaged."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from leaf_seg.export import export_model, load_exported
from leaf_seg.networks import SegResNetSegmenter
from leaf_seg.runtime.errors import InputError
from tests.export.exported import NAMES, saved
from tests.networks.test_baselines import make


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = saved(make(SegResNetSegmenter), tmp_path_factory.mktemp("model"), window=[-50, 350])
    return export_model(folder, "onnx", whole=True).read_bytes()


@pytest.mark.slow
def test_the_file_alone_segments(exported: bytes) -> None:
    """As docs/export.md does, without leaf_seg."""
    session = onnxruntime.InferenceSession(exported)
    settings = json.loads(session.get_modelmeta().custom_metadata_map["leaf_seg"])["settings"]
    assert tuple(settings["class_names"]) == NAMES
    lower, upper = (np.array(limit, np.float32) for limit in settings["window"])
    assert (lower, upper) == (-50, 350)
    assert [(entry.name, entry.shape) for entry in (*session.get_inputs(), *session.get_outputs())] == [
        ("image", ["batch", 3, "height", "width"]),
        ("lower", []),
        ("upper", []),
        ("labels", ["batch", "height", "width"]),
        ("probabilities", ["batch", 3, "height", "width"]),
    ]
    for size in ((96, 112), (80, 50)):
        image = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32) * 100
        labels, probabilities = session.run(None, {"image": image, "lower": lower, "upper": upper})
        assert labels.shape == (1, *size)
        np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))


@pytest.mark.slow
def test_nothing_of_this_computer_is_in_it(exported: bytes) -> None:
    assert not re.search(rb"site-packages|/leaf_seg/\w+/|\.py", exported)


def _with_one_bit(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    return bytes(changed)


def _without_description(content: bytes) -> bytes:
    model = onnx.load_model_from_string(content)
    del model.metadata_props[:]
    return model.SerializeToString()


def _with_other_names(content: bytes) -> bytes:
    return content.replace(b"right", b"RIGHT")


def _with_an_empty_seal(content: bytes) -> bytes:
    return _without_description(content) + b'"sha256": "'


def _with_weights_elsewhere(content: bytes) -> bytes:
    model = onnx.load_model_from_string(content)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="/etc/passwd")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    return model.SerializeToString()


def _with_a_constant_elsewhere(content: bytes) -> bytes:
    model = onnx.load_model_from_string(content)
    tensor = onnx.TensorProto(name="x", data_type=onnx.TensorProto.FLOAT, dims=[1], raw_data=bytes(4))
    onnx.external_data_helper.set_external_data(tensor, location="weights")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["x"], value=tensor))
    return model.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_with_one_bit, "is damaged"),
        (_with_other_names, "is damaged .*its checksum is another"),
        (lambda content: content[: len(content) // 2], "is damaged"),
        (lambda _: b"no model", "is damaged"),
        (lambda _: b"", "was not written by"),
        (_without_description, "was not written by"),
        (_with_an_empty_seal, "was not written by|is damaged"),
        (_with_weights_elsewhere, "was not written by"),
        (_with_a_constant_elsewhere, "was not written by"),
    ],
)
def test_other_files(change: Callable[[bytes], bytes], said: str, exported: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(change(exported))
    with pytest.raises(InputError, match=rf"model\.onnx: {said}") as error:
        load_exported(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = saved(make(SegResNetSegmenter), tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"the package {library}, which is not installed; .* leaf_seg's extra export"):
        export_model(folder, "onnx")
    assert not (tmp_path / "model.onnx").exists()
