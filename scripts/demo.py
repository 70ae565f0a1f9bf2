"""The main job on generated data: make phantoms, train LEAF, evaluate it, segment with it; ``make demo`` runs this."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import time
from pathlib import Path

from leaf_seg.data import make_phantoms
from leaf_seg.handlers import CASES_NAME, SUMMARY_NAME
from leaf_seg.runtime.termination import interrupt_on_signals, run_python

logger = logging.getLogger("demo")

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = Path("bundles/leaf_seg")
CONFIGS = BUNDLE / "configs"


def main() -> int:
    """Run the demo."""
    interrupt_on_signals()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", default="runs/demo", help="folder for data, model and results")
    parser.add_argument("--cases", type=int, default=200, help="number of phantoms")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of training")
    options = parser.parse_args()
    start = time.monotonic()

    run_dir = Path(options.output)
    dataset_dir = run_dir / "phantoms"
    model_dir = run_dir / "model"
    make_phantoms(ROOT / dataset_dir, dimension=2, num_cases=options.cases, num_classes=3, size=(96, 112), channels=3)

    train, evaluate = CONFIGS / "train.json", CONFIGS / "evaluate.json"
    common = ["--bundle_root", BUNDLE, "--dataset_dir", dataset_dir, "--output_dir", model_dir]
    common += ["--batch_size", 16]
    training = ["--num_classes", 3, "--max_epochs", options.epochs, "--val_interval", 10]
    bundle_run("training", "--config_file", train, *common, *training)
    bundle_run("evaluating", "--config_file", f"['{train}','{evaluate}']", *common)
    image = dataset_dir / "images" / "phantom_0002.png"
    command("leaf_seg", "segment", image, run_dir / "segmented", "--model", model_dir, "--num-samples", 5)

    summary = json.loads((ROOT / model_dir / "evaluation" / "testing" / SUMMARY_NAME).read_text())
    dice = summary["mean_foreground"]["dice"]
    logger.info("\nDone in %.1f minutes.", (time.monotonic() - start) / 60)
    logger.info(
        "Mean foreground Dice on the test split: %.3f [%.3f, %.3f], n = %d",
        *(dice[key] for key in ("mean", "low", "high", "n")),
    )
    logger.info("Look at:")
    for what, path in {
        "metrics": model_dir / "evaluation" / "testing" / CASES_NAME,
        "overlays with truth": model_dir / "evaluation" / "testing" / "overlays",
        "one image with uncertainty": run_dir / "segmented" / "overlays",
        "the model": model_dir,
    }.items():
        logger.info("  %-28s %s", what, path)
    return 0


def bundle_run(run_id: str, *arguments: object) -> None:
    """Run ``python -m monai.bundle run``."""
    command("monai.bundle", "run", run_id, *arguments)


def command(*arguments: object) -> None:
    """Show a ``python -m`` command, run it from the repository root, and stop the demo where it fails."""
    words = ["-m", *map(str, arguments)]
    logger.info("\n$ %s\n", shlex.join(["python", *words]))
    code = run_python(words, cwd=ROOT)
    if code:
        sys.exit(f"The demo stopped: the command above failed with exit code {code}.")


if __name__ == "__main__":
    sys.exit(main())
