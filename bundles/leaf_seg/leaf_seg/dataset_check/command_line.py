"""The command ``python -m leaf_seg check``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import SETTINGS

_LISTS = {  # and their kinds
    "image_size": int,
    "window": float,
    "spacing": float,
    "class_names": str,
    "axis": str,
    "channels": int,
}
_CHOICES = ("split_file", "fold", "modality")
_HELP = {
    "image_size": "height and width to train at, in pixels (without: what is suggested)",
    "window": "intensities that are mapped to 0 and 1, lower end first",
    "spacing": "voxel size in mm that volumes are resampled to",
    "class_names": "background first (without: the data set's own)",
    "channels": "numbers, from 0, of the channels that the network sees, one or three",
    "axis": "slicing direction of volumes (without: what is suggested)",
}


def add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``python -m leaf_seg``."""
    check = commands.add_parser(
        "check",
        help="check a data set before it is trained on",
        description="Look at every case of a data set: pairs, sizes, label values, classes, duplicates, leakage "
        "between splits; and suggest settings. Keys are those of training. Ends with 1 where there are errors.",
    )
    check.add_argument("--json", metavar="FILE", help="write the report as JSON, too")
    check.add_argument("--html", metavar="FILE", help="write the report as one page of HTML with figures, too")
    add_data_options(check)
    check.add_argument("--num_classes", type=int, help="background included (without: as data set or labels say)")
    check.add_argument("--label_encoding", default="index", help="what label files hold: index, one_hot or probability")
    check.add_argument("--label_colors", type=json.loads, metavar="JSON", help="colours of the classes in label files")
    check.add_argument("--tiff_stack", default=False, metavar="BOOL", help="true: pages of TIFF are slices of a volume")
    for key, kind in _LISTS.items():
        check.add_argument(f"--{key}", nargs="+", metavar=kind.__name__.upper(), help=_HELP[key])
    check.set_defaults(command=_check)


def add_data_options(command: argparse.ArgumentParser) -> None:
    """Add a data set and what chooses cases and splits of it, by the keys of training."""
    command.add_argument("dataset", help="folder or datalist .json file, as --dataset_dir of training")
    command.add_argument("--split_file", metavar="FILE", help="split in the place of the data set's own")
    command.add_argument("--datalist_file", metavar="FILE", help="where a training has kept the split that it made")
    command.add_argument("--fold", type=int, help="that validates, where the data set has folds (without: 0)")
    command.add_argument("--modality", metavar="NAME", help="image to take, where a case has several")
    command.add_argument("--group_regex", metavar="REGEX", help="its first group names the patient in a file's name")
    command.add_argument("--group_file", metavar="FILE", help="CSV with the columns image and group, in place of it")
    command.add_argument(
        "--memory_limit_gb", type=float, default=DEFAULT_MEMORY_LIMIT_GB, help="that reading one file may take"
    )


def _check(options: argparse.Namespace) -> int:
    keys: tuple[str, ...] = (*_CHOICES, "datalist_file", "group_regex", "group_file", "num_classes", "memory_limit_gb")
    keys += ("label_encoding", "label_colors", "tiff_stack")
    settings = {key: getattr(options, key) for key in keys}
    settings |= {key: _values(getattr(options, key), key) for key in _LISTS}
    for key, value in settings.items():
        if key in SETTINGS and value is not None:
            SETTINGS[key].check(value, f"--{key}")
    outputs = {name: _writable(getattr(options, name), f"--{name}") for name in ("json", "html")}

    from leaf_seg.data.layouts import Choices
    from leaf_seg.dataset_check.run_check import CheckOptions, check_data_set
    from leaf_seg.image_io.reading_options import ReadingOptions
    from leaf_seg.runtime.files import replacing

    settings["reading"] = ReadingOptions(settings.pop("channels"), settings.pop("tiff_stack"))
    settings["choices"] = Choices(**{key: settings.pop(key) for key in _CHOICES})
    report = check_data_set(CheckOptions(options.dataset, **settings))
    print(report.as_text(), flush=True)  # noqa: T201
    if outputs["json"] is not None:
        with replacing(outputs["json"]) as temporary:
            temporary.write_text(json.dumps(report.as_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if outputs["html"] is not None:
        from leaf_seg.dataset_check.html_page import write_page

        with replacing(outputs["html"]) as temporary:
            write_page(report, temporary)
    return 1 if report.has_errors else 0


def _values(words: list[str] | None, key: str) -> Any:
    """Values of a key: words, or one word that is the list of them as training takes it."""
    if words is None:
        return None
    try:
        if len(words) == 1 and words[0].lstrip().startswith("["):
            return json.loads(words[0].replace("'", '"'))
        values = [_LISTS[key](word) for word in words]
    except ValueError as error:
        raise InputError(f"--{key} is {' '.join(words)}; expected {_HELP[key]}, such as {key} A B.") from error
    return values[0] if key == "axis" and len(values) == 1 else values


def _writable(file: str | None, name: str) -> Path | None:
    """The file to write, if there is a folder for it: known before an hour of work."""
    if file is None:
        return None
    path = Path(file).expanduser()
    if not path.parent.is_dir() or path.is_dir():
        found = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise InputError(f"{name} is {file}, and {found}; expected the path of a file to write.")
    return path
