"""What goes wrong around a training: another one in its folder, a full disk, files that somebody has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from leaf_seg.data import make_phantoms
from leaf_seg.tracking import local_store
from leaf_seg.weights import load_network, load_settings
from tests.faults.kills import Killable, assert_same_training, kill, litter

Run = Callable[..., subprocess.CompletedProcess[str]]
RUN = ["-m", "monai.bundle", "run", "--bundle_root", "bundles/leaf_seg"]
TRAIN = ["--config_file", "bundles/leaf_seg/configs/train.json"]


@pytest.fixture(scope="module")
def words(pictures: Path, small: list[str]) -> Callable[..., list[str]]:
    """Arguments of a training for an output folder, two steps an epoch."""

    def make(output: Path, *arguments: object) -> list[str]:
        settings = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", output]
        return [*TRAIN, *map(str, settings), *small, *map(str, arguments)]

    return make


@pytest.fixture(scope="module")
def trained(bundle_run: Run, words: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of one epoch, by MLflow, too."""
    folder = tmp_path_factory.mktemp("trained") / 'it\'s "1"?, 100%41'  # what a folder may be called
    bundle_run("training", *words(folder, "--tracking", "mlflow", "--num_overlays", 1))
    return folder


@pytest.fixture
def stopped(trained: Path, tmp_path: Path) -> Path:
    """A copy that can be gone on with, by raising max_epochs."""
    return Path(shutil.copytree(trained, tmp_path / "stopped", ignore=shutil.ignore_patterns("mlruns*")))


def resume(bundle_run: Run, words: Callable[..., list[str]], folder: Path, *arguments: object) -> Any:
    return bundle_run("training", *words(folder, "--resume", "true", "--max_epochs", 2, *arguments), check=False)


def assert_refused(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode, result.stdout[-2000:]
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("leaf_seg: "), result.stderr[-3000:]
    for part in parts:
        assert part in message


@pytest.mark.slow
def test_mlflow_keeps_its_files_in_the_folder_whatever_it_is_called(trained: Path) -> None:
    assert [path.name for path in trained.parent.iterdir()] == [trained.name]
    client = MlflowClient(local_store(trained))
    experiment = client.get_experiment_by_name("leaf_seg")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert {"losses.csv", "images", "train.log"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    assert list((trained / "mlruns").rglob("losses.csv"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--num_classes", 4], ["class_names was", "'class_3'"]),
        (["--class_names", "[background,cell,nucleus]"], ["class_names was", "'nucleus'", "--init_dir"]),
        (["--image_size", "[32,64]"], ["image_size was (32, 32) and is (32, 64)"]),
        (["--window", "[0,100]"], ["window was None and is (0, 100)"]),
    ],
)
def test_other_settings_are_refused(
    arguments: list[object], parts: list[str], bundle_run: Run, words: Callable[..., list[str]], stopped: Path
) -> None:
    before = (stopped / "checkpoints" / "last.pt").read_bytes()
    assert_refused(resume(bundle_run, words, stopped, *arguments), "other settings", *parts)
    assert (stopped / "checkpoints" / "last.pt").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda state: state.pop("random"), ["has no random", "--overwrite true"]),
        (lambda state: state.update(iteration="two"), ["iteration 'two'", "expected whole numbers"]),
        (lambda state: state.update(parts=[1]), ["parts in a list"]),
        (lambda state: state["parts"].update(optimizer={"state": 5}), ["checkpoint's optimizer does not fit"]),
        (lambda state: state["parts"].pop("ema"), ["holds the state of FinalValidation", "this training has"]),
        (lambda state: state.update(version="0.0.7", data_id="x"), ["another data set", "made by leaf_seg 0.0.7"]),
    ],
)
def test_a_checkpoint_that_is_none_of_this_training(
    change: Callable[[Any], Any],
    parts: list[str],
    bundle_run: Run,
    words: Callable[..., list[str]],
    stopped: Path,
) -> None:
    for name in ("last.pt", "previous.pt"):
        state = torch.load(stopped / "checkpoints" / name, weights_only=True)
        change(state)
        torch.save(state, stopped / "checkpoints" / name)
    assert_refused(resume(bundle_run, words, stopped), *parts)


@pytest.mark.slow
def test_a_checkpoint_that_is_no_state_at_all(bundle_run: Run, words: Callable[..., list[str]], stopped: Path) -> None:
    for name in ("last.pt", "previous.pt"):
        torch.save([1, 2], stopped / "checkpoints" / name)
    assert_refused(resume(bundle_run, words, stopped), "has no iteration")


@pytest.mark.slow
def test_a_checkpoint_of_another_version_says_so_and_is_used(
    bundle_run: Run, words: Callable[..., list[str]], stopped: Path
) -> None:
    state = torch.load(stopped / "checkpoints" / "last.pt", weights_only=True)
    del state["version"], state["settings"]  # of a time when there were none
    torch.save(state, stopped / "checkpoints" / "last.pt")
    result = resume(bundle_run, words, stopped)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "made by leaf_seg 0.2.0 or before" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.pt", "config.json", "flipped"])
def test_a_lost_model_is_made_again(name: str, bundle_run: Run, words: Callable[..., list[str]], stopped: Path) -> None:
    """Also of a training that is complete: there is no exit code 0 without a model."""
    if name == "flipped":
        content = bytearray((stopped / "model.pt").read_bytes())
        content[len(content) // 2] ^= 1
        (stopped / "model.pt").write_bytes(content)
    else:
        (stopped / name).unlink()
    result = bundle_run("training", *words(stopped, "--resume", "true"))
    assert "best model so far (epoch 1, 0." in result.stdout
    assert "is missing or damaged" in result.stdout
    load_network(stopped)
    assert load_settings(stopped).num_classes == 3


@pytest.mark.slow
def test_a_model_of_another_training_is_not_taken_for_the_best(
    bundle_run: Run, words: Callable[..., list[str]], stopped: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    bundle_run("training", *words(other, "--seed", 7))
    for name in ("model.pt", "config.json"):
        shutil.copy(other / name, stopped / name)
    before = (stopped / "model.pt").read_bytes()
    result = bundle_run("training", *words(stopped, "--resume", "true"))
    assert "is not the one in" in result.stdout
    assert (stopped / "model.pt").read_bytes() != before
    load_network(stopped)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "losses.csv lacks 2 of the 2 steps so far"),
        (b"step,epoch,seconds,loss,learning_rate\n1,1,0.5,\x00\xff\n2,1,1.0,0.5,0.1\n", "1 of its lines cannot be"),
        (b"\xff\xfe no table at all\n1,2\n", "2 of its lines cannot be read"),
        (b"", "lacks 2 of the 2 steps"),
    ],
)
def test_a_damaged_table_is_repaired(
    content: bytes | None, told: str, bundle_run: Run, words: Callable[..., list[str]], stopped: Path
) -> None:
    steps = len((stopped / "losses.csv").read_text().splitlines()) - 1
    (stopped / "losses.csv").unlink()
    if content is not None:
        (stopped / "losses.csv").write_bytes(content)
    result = resume(bundle_run, words, stopped)
    assert result.returncode == 0, result.stderr[-2000:]
    assert told in result.stdout.replace(f"lacks {steps} of the {steps}", "lacks 2 of the 2")
    assert (stopped / "losses.csv").read_text().splitlines()[-1].startswith(f"{2 * steps},2,")
    if content:
        assert (stopped / "losses.csv.damaged").read_bytes() == content
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_changed_files_are_told(
    bundle_run: Run, words: Callable[..., list[str]], pictures: Path, stopped: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    for label in (data / "labels").iterdir():
        os.utime(label)
    result = resume(bundle_run, words, stopped, "--dataset_dir", data)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "files of the training data were written after the checkpoint" in result.stdout


def test_a_spoilt_manifest_is_refused(bundle_run: Run, words: Callable[..., list[str]], stopped: Path) -> None:
    """Its name of the run becomes part of a query of MLflow."""
    manifest = json.loads((stopped / "manifest.json").read_text())
    (stopped / "manifest.json").write_text(json.dumps(manifest | {"run": "x' OR tags.a = 'b"}))
    assert_refused(resume(bundle_run, words, stopped), "manifest.json", "not 32 hexadecimal digits")


@pytest.mark.slow
def test_class_names_are_no_paths(bundle_run: Run, words: Callable[..., list[str]], tmp_path: Path) -> None:
    output = tmp_path / "output"
    names = ["background", "../up", "a/../b"]
    bundle_run("training", *words(output, "--tracking", "mlflow", "--class_names", json.dumps(names)))
    client = MlflowClient(local_store(output))
    experiment = client.get_experiment_by_name("leaf_seg")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert len([key for key in run.data.metrics if key.startswith("val_dice_")]) == 2
    assert load_settings(output).class_names == tuple(names)


@pytest.mark.slow
def test_a_decoration_that_fails_costs_no_training(
    bundle_run: Run, words: Callable[..., list[str]], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    for number in range(12):  # folders in the way of the files
        (output / "overlays" / f"phantom_{number:04d}_epoch_0001.png").mkdir(parents=True)
    result = bundle_run("training", *words(output, "--num_overlays", 1), check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (output / "model.pt").is_file()
    assert "the run goes on without it" in result.stdout


@pytest.mark.slow
def test_one_training_at_a_time(
    bundle_run: Run, words: Callable[..., list[str]], small: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    first = Killable(
        [*RUN, "training", *words(output, "--max_epochs", 100, "--checkpoint_minutes", 0)],
        tmp_path / "log",
        tmp_path / "tmp",
    )
    process = first.start()
    try:
        assert _wait_for(output / "metrics.csv"), first.log.read_text()[-3000:]
        for arguments in ([], ["--resume", "true"], ["--overwrite", "true"]):
            result = bundle_run("training", *words(output, *arguments), check=False)
            if arguments:
                assert_refused(result, f"Process {process.pid} on ", "is writing to", "choose another --output_dir")
            else:
                assert_refused(result, "already holds a training")
        assert process.poll() is None
    finally:
        kill(process)
    assert litter(output)
    result = bundle_run("training", *words(output, "--resume", "true", "--max_epochs", 100, "--max_minutes", 0.01))
    assert f"Process {process.pid} on " in result.stdout
    assert "did not come to its end" in result.stdout
    assert not litter(output, tmp_path / "tmp")


def _wait_for(file: Path, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return file.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many kB; called again it has another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(kilobytes: int) -> Path:
        remount = ["remount,"] if folder.is_mount() else [""]
        command = ["mount", "-t", "tmpfs", "-o", f"{remount[0]}size={kilobytes}k", "tmpfs", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"a disk of another size needs the right to mount one: {result.stderr.strip()}")
        return folder

    yield make
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_a_training_in_one_line_and_it_goes_on_when_there_is_space(
    bundle_run: Run, words: Callable[..., list[str]], small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    settings = ["--max_epochs", 3, "--checkpoint_minutes", 0]
    bundle_run("training", *words(whole, *settings))
    checkpoint = (whole / "checkpoints" / "last.pt").stat().st_size // 1024
    output = small_disk(300) / "output"
    parts = ["Cannot write ", str(output), "No space left on device", "MB are needed and", "MB are free in"]
    assert_refused(bundle_run("training", *words(output, *settings), check=False), *parts)  # no slices fit, or no more
    small_disk(int(2.5 * checkpoint))
    assert_refused(bundle_run("training", *words(output, *settings, "--overwrite", "true"), check=False), *parts)
    last = torch.load(output / "checkpoints" / "last.pt", weights_only=True)
    assert last["iteration"] >= 0
    assert not litter(output)
    small_disk(20 * checkpoint)
    bundle_run("training", *words(output, *settings, "--resume", "true"))
    assert_same_training(whole, output, tracked=False)


@pytest.mark.slow
def test_no_space_for_slices(
    bundle_run: Run, small: list[str], small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    dataset = make_phantoms(tmp_path / "data", dimension=2, num_cases=40, num_classes=2, size=(64, 64))
    cache, output = small_disk(100), tmp_path / "output"
    arguments = ["--dataset_dir", dataset, "--num_classes", 2, "--output_dir", output, "--cache_dir", cache]
    result = bundle_run("training", *TRAIN, *small, *map(str, arguments), check=False)
    assert_refused(result, "Cannot write", str(cache / "prepared_slices"), "are needed and", "are free in")
    assert not litter(cache, output)


def test_a_name_that_monai_would_alter_is_refused(
    bundle_run: Run, words: Callable[..., list[str]], tmp_path: Path
) -> None:
    result = bundle_run("training", *words(tmp_path / "run #1"), check=False)
    assert_refused(result, "--output_dir is ", "run #1: MONAI would make '::' of '#'")
    assert not list(tmp_path.iterdir())
