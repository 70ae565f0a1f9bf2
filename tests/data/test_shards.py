from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leaf_seg.data import CaseShard, CaseStore, SliceDataset, SliceSampler, SliceShard, make_phantoms
from leaf_seg.data.datalists import load_datalist
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.runtime.distributed import wait_for_all
from leaf_seg.transforms import preprocessing
from tests.two_processes import in_two_processes, said_by

NUM_CASES = 7


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = make_phantoms(tmp_path_factory.mktemp("cases"), dimension=2, num_cases=NUM_CASES, num_classes=2)
    datalist = load_datalist(str(folder))
    return [*datalist.training, *datalist.validation, *datalist.testing]


def make_dataset(cases: list[dict[str, str]], folder: Path) -> SliceDataset:
    prepare = preprocessing(ModelSettings(["background", "lesion"], (16, 16)), labels="prepared")
    return SliceDataset(cases, prepare, (16, 16), cache_dir=str(folder))


def shares(cases: list[dict[str, str]], folder: Path) -> dict[str, Any]:
    dataset = make_dataset(cases, folder)
    shard, alone = SliceShard(SliceSampler(dataset, seed=3)), SliceSampler(dataset, seed=3)
    drawn = {"alone": list(alone), "shard": list(shard), "length": len(shard)}
    shard.start_at(0, 2)
    drawn |= {"resumed": list(shard), "folders": [path.name for path in folder.glob("slices_*")]}
    case_shard: CaseShard = CaseShard(dataset)
    drawn |= {"cases": list(case_shard), "start": case_shard.start, "image": dataset[0]["image"]}
    drawn["of one"] = list(CaseShard([0]))  # type: ignore[arg-type]
    wait_for_all()  # with the dataset of the first process its folder goes
    return drawn


@pytest.mark.dist
def test_two_processes_have_the_batches_of_one(cases: list[dict[str, str]], tmp_path: Path) -> None:
    first, second = in_two_processes(shares, tmp_path, cases, tmp_path)
    alone = first["alone"]
    assert alone == second["alone"]
    assert len({*alone}) == NUM_CASES
    assert first["shard"] == alone[0::2]
    assert second["shard"] == [*alone[1::2], alone[-1]], "the last one again, so that both have as many"
    assert first["length"] == second["length"] == len(first["shard"]) == len(second["shard"])
    for found in (first, second):
        assert found["resumed"] == found["shard"][2:]


@pytest.mark.dist
def test_slices_are_prepared_once_and_cases_evaluated_once(cases: list[dict[str, str]], tmp_path: Path) -> None:
    first, second = in_two_processes(shares, tmp_path, cases, tmp_path)
    assert first["folders"] == second["folders"]
    assert len(first["folders"]) == 1
    assert (first["image"] == second["image"]).all()
    assert first["cases"] + second["cases"] == list(range(NUM_CASES)), "in the order of one process"
    assert (first["start"], second["start"]) == (0, 4)
    assert (first["of one"], second["of one"]) == ([0], [])
    assert not list(tmp_path.glob("slices_*"))


def found_before(cases: list[dict[str, str]], folder: Path) -> dict[str, Any]:
    prepare = preprocessing(ModelSettings(["background", "lesion"], (16, 16)), labels="prepared")
    said = said_by("leaf_seg.data.case_places")
    dataset = SliceDataset(cases, prepare, (16, 16), store=CaseStore(folder, 1))
    sample = dataset[3]
    wait_for_all()
    return {"image": sample["image"], "said": said, "folders": len(list(folder.glob(".unfinished_*")))}


@pytest.mark.dist
def test_kept_slices_are_found_once_for_all(cases: list[dict[str, str]], tmp_path: Path) -> None:
    for number in (0, NUM_CASES):
        first, second = in_two_processes(found_before, tmp_path, cases, tmp_path / "kept")
        assert first["said"] == [f"{number} of {NUM_CASES} cases were prepared before; from {tmp_path / 'kept'}."]
        assert second["said"] == []
        assert (first["image"] == second["image"]).all()
        assert first["folders"] == 1
    assert not list((tmp_path / "kept").glob(".unfinished_*"))
