from __future__ import annotations

from pathlib import Path

import pytest

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import check_settings
from leaf_seg.runtime.written_path import check_written, with_home
from leaf_seg.runtime.written_settings import completed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/x", "{home}/x"),
        ("~", "{home}"),
        ("sqlite:///~/x.db", "sqlite:///{home}/x.db"),
        ("a/~b", "a/~b"),
        ("http://host/~user", "http://host/~user"),
        ("./~", "./~"),
    ],
)
def test_the_home_folder(written: str, meant: str, home: Path) -> None:
    assert with_home(written) == meant.format(home=home)


def test_a_folder_that_is_called_so_stays(home: Path) -> None:
    (home / "~").mkdir()
    assert with_home("~") == "~"


def test_a_user_that_there_is_not() -> None:
    with pytest.raises(InputError, match="there is no home folder ~nobody_is_called_so"):
        with_home("~nobody_is_called_so/x")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("$HOME/x", r"\$HOME the shell has not replaced"),
        ("runs/${HOME}", "the shell has not replaced"),
        ("runs ", "spaces or quotation marks"),
        ("'runs'", "spaces or quotation marks"),
        ('"runs', "spaces or quotation marks"),
    ],
)
def test_what_cannot_be_meant(written: str, words: str, home: Path) -> None:
    with pytest.raises(InputError, match=f"^output_dir is .*{words}"):
        check_settings({"output_dir": written})
    (home / written).mkdir(parents=True)
    check_written(written, "output_dir")


@pytest.mark.parametrize("written", ["$NO_SUCH_VARIABLE/x", "a b", "run's", "$@root + '/x'"])
def test_what_is_left_alone(written: str) -> None:
    check_settings({"output_dir": written})


def test_settings_that_are_completed(home: Path) -> None:
    settings = {"output_dir": "~/a", "dataset_dir": "b", "model_dir": "$'~'", "image_size": 32, "run_name": "~"}
    assert completed(settings) == {"output_dir": f"{home}/a", "image_size": [32, 32]}
    assert not completed({"image_size": [32, 48], "cache_dir": None})
