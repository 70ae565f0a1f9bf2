"""Copies the bundle as MONAI Label's generic ``monaibundle`` app wants it, and for that app alone.

Its train.json and inference.json are merged with their overlays, and the shipped weights are there twice.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from monai.bundle import ConfigParser

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "leaf_seg"
CONFIGS = {
    "train.json": ("train.json", "profiles/hippocampus.json", "profiles/monailabel_train.json"),
    "inference.json": ("inference.json", "profiles/monailabel_inference.json"),
}


def main() -> int:
    """Copy, and merge the configs; the exit code is 0, or 2 for a folder that is in the way."""
    folder = _parser().parse_args().folder
    if folder.exists():
        sys.stderr.write(f"label_bundle: {folder} exists; expected a new folder. Remove it, or choose another.\n")
        return 2
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "runs", "evaluation"))
    for name, parts in CONFIGS.items():
        config = ConfigParser()
        config.read_config([BUNDLE / "configs" / part for part in parts])
        ConfigParser.export_config_file(config.get(), str(folder / "configs" / name), indent=4)
    # Training in the app replaces model.pt, the shortest name and so the default; this one stays to choose.
    shutil.copy(folder / "models" / "model.pt", folder / "models" / "model_initial.pt")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="to make: model/leaf_seg in the folder of the app")
    return parser


if __name__ == "__main__":
    sys.exit(main())
