"""Model folders that are damaged or hostile: each ends in the result of the whole one, or in one line."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from leaf_seg.data import ModelSettings, make_phantoms
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network, load_settings, model_is_whole, save_model
from tests.faults import damaged_models
from tests.faults.damaged_models import Damage, flipped
from tests.faults.limited import MB, Outcome, assert_one_line, run_command_limited, run_limited
from tests.model_files import without_checksums

Make = Callable[..., LatentSegmenter]
SETTINGS = ModelSettings(["background", "cell", "nucleus"], [16, 16])
SMALL = ModelSettings(["background", "cell"], [32, 32])


@pytest.fixture
def model(make_segmenter: Make, tmp_path: Path) -> Path:
    """A small model folder as training leaves it."""
    return save_model(make_segmenter(seed=3), SETTINGS, tmp_path / "model")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    values = torch.randint(0, 256, (20, 24, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    Image.fromarray(values.numpy()).save(file)
    return file


def message_of(folder: Path) -> str | None:
    """Why a folder is refused."""
    try:
        load_network(folder)
        load_settings(folder)
    except InputError as error:
        return str(error)
    return None


def segmenting(picture: Path, model: Path, output: Path) -> Outcome:
    """The real command."""
    options = ("--model", model, "--no-overlays", "--device", "cpu")
    return run_command_limited("-m", "leaf_seg", "segment", picture, output, *options, memory=600 * MB, seconds=30)


def results(output: Path) -> dict[str, bytes]:
    """The files that a command wrote."""
    return {str(file.relative_to(output)): file.read_bytes() for file in output.rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["settings", "texts", "weights", pytest.param("large", marks=pytest.mark.slow)])
def test_a_refusal_is_one_line_of_little_memory_and_time(kind: str, model: Path, tmp_path: Path) -> None:
    """All of a kind in one child; when it is killed, what it wrote last says where."""
    damages: list[Damage] = getattr(damaged_models, kind)()

    def load_all() -> int:
        for damage in damages:
            folder = tmp_path / "damaged"
            shutil.copytree(model, folder)
            damage.inflict(folder)
            started = time.process_time()
            message = message_of(folder)
            print(json.dumps([damage.name, message, time.process_time() - started]))  # noqa: T201
            shutil.rmtree(folder)
        return 0

    outcome = run_limited(load_all, memory=400 * MB, seconds=200)  # for all, on a busy machine
    assert outcome.code == 0, outcome.out[-1000:] + outcome.err[-3000:]
    told = [json.loads(line) for line in outcome.out.splitlines()]
    assert [name for name, *_ in told] == [damage.name for damage in damages]
    for damage, (name, message, seconds) in zip(damages, told, strict=True):
        assert message is not None, f"{name} is accepted"
        assert not [word for word in damage.words if word not in message], f"{name}: {message}"
        assert message.isprintable()
        assert len(message) < 1500
        assert seconds < 10, f"{name} took {seconds}"


def test_a_byte_order_mark_does_no_harm(model: Path) -> None:
    file = model / "config.json"
    before = message_of(model), load_settings(model)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert (message_of(model), load_settings(model)) == before == (None, SETTINGS)


@pytest.mark.parametrize("name", ["model.pt", "config.json"])
def test_every_flipped_bit_is_found(name: str, model: Path) -> None:
    """In the weights any; in config.json any that changes a value of the network, the settings or the record."""
    whole, state = (model / name).read_bytes(), load_network(model).state_dict()
    chance = random.Random(5)
    for bit in chance.sample(range(8 * len(whole)), 60):
        flipped(model / name, bit)
        message = message_of(model)
        if message is None:  # a name that nothing looks for, or white space
            assert name == "config.json"
            network = load_network(model)
            assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
            assert load_settings(model) == SETTINGS
        else:
            assert str(model) in message
            assert message.isprintable()
            assert not model_is_whole(model)
        (model / name).write_bytes(whole)
    assert message_of(model) is None


@pytest.mark.slow
def test_flipped_bits_of_weights_of_before_there_were_checksums(model: Path) -> None:
    """PyTorch's archive has sums of its own, of all but its own tables."""
    without_checksums(model)
    whole, state = (model / "model.pt").read_bytes(), load_network(model).state_dict()
    chance, found = random.Random(6), 0
    for bit in chance.sample(range(8 * len(whole)), 12):
        flipped(model / "model.pt", bit)
        if message_of(model) is None:
            network = load_network(model)
            assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        else:
            found += 1
        (model / "model.pt").write_bytes(whole)
    assert found > 6


@pytest.mark.slow
def test_the_command_says_it_in_one_line(model: Path, picture: Path, tmp_path: Path) -> None:
    undamaged = segmenting(picture, model, tmp_path / "whole")
    assert undamaged.code == 0, undamaged.err
    of_interest = {"unet.layers_per_block=1000000", "nan", "deep"}
    damages = [*damaged_models.settings(), *damaged_models.texts()[:2], *damaged_models.weights()[:3]]
    for damage in (damage for damage in damages if damage.name in of_interest):
        folder = shutil.copytree(model, tmp_path / damage.name)
        damage.inflict(folder)
        outcome = segmenting(picture, folder, tmp_path / "out")
        assert_one_line(outcome, *damage.words)
        assert not results(tmp_path / "out")
        of_interest.remove(damage.name)
    assert not of_interest
    flipped(model / "model.pt", 4 * (model / "model.pt").stat().st_size)
    outcome = segmenting(picture, model, tmp_path / "out")
    assert_one_line(outcome, "model.pt is damaged", "config.json", "Restore both files together")


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    ["with checksums", pytest.param("without", marks=pytest.mark.slow), pytest.param("none", marks=pytest.mark.slow)],
)
def test_a_save_that_is_killed_anywhere_leaves_a_whole_model(before: str, tmp_path: Path) -> None:
    """The former model, or the new one; never one's configuration with the other's weights."""
    former, new = (small_network(dropout) for dropout in (0.1, 0.2))
    codes, seen = [], set()
    for events in range(1, 100):
        folder = tmp_path / str(events)
        if before != "none":
            save_model(former, SMALL, folder)
        if before == "without":
            without_checksums(folder)
        codes.append(run_limited(lambda: save_until_killed(new, folder, events)).code)  # noqa: B023
        if before != "none" or codes[-1] == 0:
            found = load_network(folder)
            expected = {0.1: former, 0.2: new}[found.config["dropout"]].state_dict()
            assert all(torch.equal(value, expected[key]) for key, value in found.state_dict().items())
            assert model_is_whole(folder)
            seen.add(found.config["dropout"])
        elif not model_is_whole(folder):
            assert "No " in str(message_of(folder))
        save_model(new, SMALL, folder)
        assert "former" not in json.loads((folder / "config.json").read_text())
        assert load_network(folder).config["dropout"] == 0.2
        if codes[-1] == 0:
            break
    assert codes[-1] == 0
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 5
    assert seen == ({0.1, 0.2} if before != "none" else {0.2})


def small_network(dropout: float) -> BasicUNetSegmenter:
    return BasicUNetSegmenter(2, SMALL.image_size, features=(2,) * 6, dropout=dropout)


def save_until_killed(network: BasicUNetSegmenter, folder: Path, events: int) -> int:
    """Save, and be killed as soon as so many files of the folder were opened to write, renamed or removed."""
    left = events

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in ("open", "os.rename", "os.remove", "os.mkdir") or str(folder) not in str(arguments):
            return
        if event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    save_model(network, SMALL, folder)
    return 0


def test_a_model_is_read_while_it_is_replaced(tmp_path: Path) -> None:
    networks = [small_network(dropout) for dropout in (0.1, 0.2)]
    folder = save_model(networks[0], SMALL, tmp_path / "model")
    writer = os.fork()
    if writer == 0:
        while True:
            for network in networks:
                save_model(network, SMALL, folder)
                time.sleep(0.02)
    try:
        started = time.monotonic()
        seen: set[float] = set()
        while time.monotonic() < started + 1.5 or (len(seen) < 2 and time.monotonic() < started + 60):
            seen.add(load_network(folder).config["dropout"])
            assert load_settings(folder) == SMALL
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert seen == {0.1, 0.2}


@pytest.mark.slow
@pytest.mark.parametrize("one_of", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_damaged_models_through_the_command(one_of: int, model: Path, picture: Path, tmp_path: Path) -> None:
    """At least 100, or one of so many: each ends in the very result of the whole model, or in one line."""
    assert segmenting(picture, model, tmp_path / "whole").code == 0
    expected, chance, same = results(tmp_path / "whole"), random.Random(7), 0
    damages = [*damaged_models.settings(), *damaged_models.texts(), *damaged_models.weights(), *damaged_models.large()]
    for name, number in (("model.pt", 16), ("config.json", 16)):
        size = (model / name).stat().st_size
        damages += [
            Damage(f"{name}, bit {bit}", lambda folder, n=name, b=bit: flipped(folder / n, b), ())  # type: ignore[misc]
            for bit in chance.sample(range(8 * size), number)
        ]
        damages += [
            Damage(f"{name}, cut at {at}", lambda folder, n=name, a=at: os.truncate(folder / n, a), ())  # type: ignore[misc]
            for at in chance.sample(range(size), 6)
        ]
    assert len(damages) >= 100
    for number, damage in enumerate(damages[::one_of]):
        folder, output = shutil.copytree(model, tmp_path / "damaged"), tmp_path / f"out_{number}"
        damage.inflict(folder)
        outcome = segmenting(picture, folder, output)
        if outcome.code == 0:
            assert not damage.words, f"{damage.name} is accepted"
            assert results(output) == expected, damage.name
            same += 1
        else:
            assert_one_line(outcome, *damage.words)
            assert not results(output)
        shutil.rmtree(folder)
    assert same < 10, "flips of white space and of names that nothing looks for"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unet_config#layers_per_block", "1000000"),
        ("unet_config#block_out_channels", "[8,1000000000,8]"),
        ("scheduler#num_train_timesteps", "100000000"),
        ("num_classes", "1000000000"),
        ("image_size", "[1000000000,1000000000]"),
        ("dropout", "2"),
        ("noise_seed", "0.5"),
    ],
)
def test_a_training_of_sizes_that_cannot_be_meant(key: str, value: str, tmp_path: Path) -> None:
    data = make_phantoms(tmp_path / "data", dimension=2, num_cases=12, num_classes=3, size=(40, 48), channels=3)
    given = {"--num_classes": "3", f"--{key}": value, "--num_workers": "0", "--device_name": "cpu"}
    outcome = run_command_limited(
        *("-m", "monai.bundle", "run", "training", "--config_file", "bundles/leaf_seg/configs/train.json"),
        *("--bundle_root", "bundles/leaf_seg", "--dataset_dir", data, "--output_dir", tmp_path / "out"),
        *(word for pair in given.items() for word in pair),
        memory=700 * MB,
        seconds=60,
    )
    assert_one_line(outcome, f"{key.split('#')[-1]} is ", value.replace(",", ", "))
    assert not (tmp_path / "out" / "model.pt").exists()
