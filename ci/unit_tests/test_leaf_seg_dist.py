"""Trains, evaluates and segments with the bundle in several processes; from the root of the Model Zoo.

As the zoo's runner starts it: ``python ci/unit_tests/runner.py --b leaf_seg --dist True``. A process for each GPU; two
on the CPU where there is none.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import torch
from monai.bundle import ConfigParser

from test_leaf_seg import BUNDLE, CONFIGS, SMALL, make_volumes


class TestLeafSegMGPU(unittest.TestCase):
    """The overlays for several GPUs, merged into one file with the overrides."""

    def setUp(self):
        """Make the data."""
        self.folder = tempfile.mkdtemp()
        self.dataset_dir = os.path.join(self.folder, "dataset")
        self.merged = os.path.join(CONFIGS, "merged_override.json")
        self.number = torch.cuda.device_count() or 2
        make_volumes(self.dataset_dir, 10 * self.number)  # a tenth is for validation

    def tearDown(self):
        """Remove all."""
        shutil.rmtree(self.folder)
        if os.path.exists(self.merged):
            os.remove(self.merged)

    def run_by_all(self, files, override):
        """Merge, export and run in as many processes as there are GPUs."""
        parser = ConfigParser()
        parser.read_config([os.path.join(CONFIGS, file) for file in files])
        parser.update(pairs=override)
        ConfigParser.export_config_file(parser.config, self.merged, indent=4)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1"]
        launcher += [f"--nproc_per_node={self.number}"]
        command = ["-m", "monai.bundle", "run", "--config_file", self.merged]
        command += ["--logging_file", os.path.join(CONFIGS, "logging.conf")]
        command += ["--meta_file", os.path.join(CONFIGS, "metadata.json")]
        subprocess.check_call(launcher + command)

    def test_mgpu_configs(self):
        """Leaves a model, its evaluation and label maps."""
        model_dir = os.path.join(self.folder, "model")
        override = {**SMALL, "dataset_dir": self.dataset_dir, "output_dir": model_dir}
        self.run_by_all(["train.json", "multi_gpu_train.json"], override)
        self.assertTrue(os.path.isfile(os.path.join(model_dir, "model.pt")))

        override = {"bundle_root": BUNDLE, "num_workers": 0, "dataset_dir": self.dataset_dir}
        override["model_dir"] = model_dir
        self.run_by_all(["train.json", "evaluate.json", "multi_gpu_evaluate.json"], override)
        report = os.path.join(model_dir, "evaluation", "testing")
        self.assertTrue(os.path.isfile(os.path.join(report, "metrics_summary.json")))

        override["dataset_dir"] = os.path.join(self.dataset_dir, "images")
        override["output_dir"] = os.path.join(self.folder, "segmentations")
        del override["num_workers"]
        self.run_by_all(["inference.json", "multi_gpu_inference.json"], override)
        written = {name for name in os.listdir(override["output_dir"]) if name.endswith(".nii.gz")}
        self.assertEqual(written, set(os.listdir(override["dataset_dir"])))


if __name__ == "__main__":
    unittest.main()
