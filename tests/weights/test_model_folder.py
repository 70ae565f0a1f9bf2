from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.data import Datalist
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter, SavedNetwork
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import check_dataset, load_network, load_settings, save_model
from tests.model_files import without_checksums

Make = Callable[..., LatentSegmenter]
SETTINGS = ModelSettings(["background", "cell", "nucleus"], [16, 16], "sagittal", 3, (0, 80), (1, 1, 2))


@pytest.fixture
def whole(make_segmenter: Make, tmp_path: Path) -> Path:
    """A model folder as training leaves it."""
    return save_model(make_segmenter(seed=3, parameterization="v", noise_seed=4), SETTINGS, tmp_path)


@pytest.fixture
def folder(whole: Path) -> Path:
    """A model folder of before there were checksums, so that what is changed in it is looked at."""
    return without_checksums(whole)


def settings_of(network: SavedNetwork) -> ModelSettings:
    return ModelSettings([f"class_{number}" for number in range(network.num_classes)], network.image_size)


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["network"] |= changes
    (folder / "config.json").write_text(json.dumps(config))


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.file,)


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
def test_loaded_network_is_the_saved_one(autoencoder: str, make_segmenter: Make, tmp_path: Path) -> None:
    network = make_segmenter(6, (24, 16), autoencoder, seed=3, parameterization="v", noise_seed=4, encoder_dropout=0.2)
    save_model(network, settings_of(network), tmp_path / "new" / "folder")
    loaded = load_network(tmp_path / "new" / "folder")
    assert not any(module.training for module in loaded.modules())
    image = torch.rand(2, 3, 24, 16)
    assert torch.equal(loaded(image), network(image))
    assert loaded.config == json.loads(json.dumps(network.config))
    assert sorted(file.name for file in (tmp_path / "new" / "folder").iterdir()) == ["config.json", "model.pt"]


def test_the_folder_says_which_network_it_holds(tmp_path: Path) -> None:
    network = BasicUNetSegmenter(3, (32, 48), features=(4, 4, 8, 8, 8, 4), dropout=0.1).eval()
    save_model(network, settings_of(network), tmp_path)
    loaded = load_network(tmp_path)
    assert type(loaded) is BasicUNetSegmenter
    assert not any(module.training for module in loaded.modules())
    image = torch.rand(2, 3, 32, 48)
    assert torch.equal(loaded(image), network(image))
    assert loaded.config == network.config
    assert json.loads((tmp_path / "config.json").read_text())["network"]["_class_name"] == "BasicUNetSegmenter"


@pytest.mark.parametrize("name", ["SwinUNet", "basicunetsegmenter", "torch.nn.Linear", "", None, ["LatentSegmenter"]])
def test_network_class_that_this_version_has_not(name: Any, folder: Path) -> None:
    change_config(folder, _class_name=name)
    with pytest.raises(InputError, match=rf"{folder}/config\.json .*{re.escape(repr(name))} is not known; .*BasicUNet"):
        load_network(folder)


def test_weights_of_another_network_class(folder: Path) -> None:
    network = BasicUNetSegmenter(3, (32, 48), features=(4, 4, 8, 8, 8, 4))
    torch.save(network.state_dict(), folder / "model.pt")
    with pytest.raises(InputError, match=rf"{folder}/model\.pt does not fit .*keys missing"):
        load_network(folder)


def test_loaded_settings_are_the_saved_ones(whole: Path) -> None:
    assert load_settings(whole) == SETTINGS
    assert load_settings(str(whole)) == SETTINGS


def test_bare_state_in_another_file(folder: Path) -> None:
    torch.save(torch.load(folder / "model.pt", weights_only=True)["model"], folder / "checkpoint.pt")
    one, other = load_network(folder), load_network(folder, "checkpoint.pt")
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_dropout_acts_in_training_mode_alone(folder: Path) -> None:
    image, network = torch.rand(1, 3, 16, 16), load_network(folder, dropout=0.3)
    with torch.no_grad():
        assert torch.equal(network(image), load_network(folder)(image))
        network.train()
        assert not torch.equal(network(image), network(image))
        assert torch.equal(network.eval()(image), load_network(folder)(image))


@pytest.mark.parametrize("name", ["config.json", "model.pt"])
def test_missing_file(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"No .*{name}"):
        load_network(folder)


def test_missing_folder(tmp_path: Path) -> None:
    for function in (load_network, load_settings):
        with pytest.raises(InputError, match=r"No config\.json in .*/nowhere; expected .* model\.pt.*--model_dir"):
            function(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1, -200])
def test_truncated_weights(keep: int, folder: Path) -> None:
    file = folder / "model.pt"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"{file} cannot be read as weights"):
        load_network(folder)


@pytest.mark.parametrize("content", [b"hello\n", b"\0" * 64, bytes(range(256)), b"<html></html>", b"PK\x03\x04", b"."])
def test_file_that_is_no_checkpoint(content: bytes, folder: Path) -> None:
    (folder / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match=rf"{folder}/model\.pt cannot be read as weights"):
        load_network(folder)


def test_folder_in_place_of_the_weights(folder: Path) -> None:
    (folder / "model.pt").unlink()
    (folder / "model.pt").mkdir()
    with pytest.raises(InputError, match=rf"{folder}/model\.pt"):
        load_network(folder)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(how: str, folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    content = {"model": {"noise": Bomb(proof)}}
    if how == "torch":
        torch.save(content, folder / "model.pt")
    else:
        (folder / "model.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=rf"{folder}/model\.pt"):
        load_network(folder)
    assert not proof.exists()
    torch.load(folder / "model.pt", weights_only=False) if how == "torch" else pickle.loads(pickle.dumps(content))
    assert proof.exists()  # the checkpoint was armed


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, {"model": 3}, torch.zeros(3), {"model": [1]}])
def test_checkpoint_without_a_state_dictionary(content: Any, folder: Path) -> None:
    torch.save(content, folder / "model.pt")
    with pytest.raises(InputError, match=rf"{folder}/model\.pt holds no state dictionary"):
        load_network(folder)


def test_weights_of_other_shapes(folder: Path, make_segmenter: Make) -> None:
    torch.save(make_segmenter(image_size=(24, 16)).state_dict(), folder / "model.pt")
    expected = r"noise: found \(1, 4, 6, 4\), expected \(1, 4, 4, 4\)"
    with pytest.raises(InputError, match=rf"{folder}/model\.pt does not fit .*config\.json.*{expected}"):
        load_network(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {f"module.{key}": value for key, value in state.items()}, "does not fit .*keys missing"),
        (lambda state: {k: v for k, v in state.items() if "unet.conv_out" not in k}, "does not fit .*2 keys missing"),
        (lambda state: state | {"projector.weight": torch.zeros(1)}, r"does not fit .*1 unexpected \(projector"),
        (lambda state: {}, "holds no state dictionary"),
    ],
    ids=["wrapped", "incomplete", "left over", "empty"],
)
def test_weights_with_other_keys(change: Callable[[dict], dict], words: str, folder: Path) -> None:
    file = folder / "model.pt"
    torch.save(change(torch.load(file, weights_only=True)["model"]), file)
    with pytest.raises(InputError, match=rf"{file} {words}"):
        load_network(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"network": {}}', '{"network": null, "settings": null}', '"network settings"'],
)
def test_damaged_config(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    for function in (load_network, load_settings):
        with pytest.raises(InputError, match=rf"{folder}/config\.json"):
            function(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"unet": None},
        {"image_size": [15, 16]},
        {"num_classes": 9},
        {"parameterization": "epsilon"},
        {"autoencoder": {"_class_name": "VQModel"}},
        {"strange": 1},
    ],
    ids=str,
)
def test_config_of_no_network(changes: dict[str, Any], folder: Path) -> None:
    change_config(folder, **changes)
    with pytest.raises(InputError, match=rf"{folder}/config\.json"):
        load_network(folder)


def test_settings_of_another_version(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["strange"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"{folder}/config\.json.*strange"):
        load_settings(folder)


def test_folder_that_cannot_be_written_to(make_segmenter: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write to the output folder"):
        save_model(make_segmenter(), SETTINGS, tmp_path / "file" / "folder")


@pytest.mark.parametrize("names", [["background", "nucleus", "cell"], ["background", "cell"]])
def test_dataset_with_other_classes(names: list[str], folder: Path) -> None:
    with pytest.raises(InputError, match=rf"{folder}.*expected the same"):
        check_dataset(folder, Datalist([], [], [], names, "abc"))


@pytest.mark.parametrize("names", [None, list(SETTINGS.class_names), [n.title() for n in SETTINGS.class_names]])
@pytest.mark.parametrize(("trained_on", "warns"), [("abc", False), ("abd", True), (None, False)])
def test_dataset_other_than_the_training_one(
    names: list[str] | None,
    trained_on: str | None,
    warns: bool,
    make_segmenter: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_model(make_segmenter(), SETTINGS, tmp_path, {} if trained_on is None else {"datalist_sha256": trained_on})
    check_dataset(tmp_path, Datalist([], [], [], names, "abc"))
    assert ("the metrics are too good" in caplog.text) == warns


def test_settings_with_other_directions(folder: Path) -> None:
    assert load_settings(folder) == SETTINGS
    other = load_settings(folder, axis=["coronal", "axial"], mirror_axes=[0])
    assert (other.axis, other.mirror_axes) == (("coronal", "axial"), (0,))
    assert other.class_names == SETTINGS.class_names


def test_settings_without_an_image_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["settings"]["image_size"]
    (folder / "config.json").write_text(json.dumps(config))
    for load in (load_network, load_settings):
        with pytest.raises(InputError, match=r"config\.json"):
            load(folder)
