"""Trains, evaluates and infers with the bundle on generated volumes; from the root of the Model Zoo.

As the zoo's runner starts it: ``python ci/unit_tests/runner.py --b leaf_seg``, with ``models/leaf_seg`` there.
"""

import os
import shutil
import sys
import tempfile
import unittest

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

BUNDLE = "models/leaf_seg"
CONFIGS = os.path.join(BUNDLE, "configs")
NUM_VOLUMES = 5
SHAPE = (24, 28, 20)
SMALL = {
    "bundle_root": BUNDLE,
    "num_classes": 3,
    "image_size": [32, 32],
    "unet_config#block_out_channels": [32, 32, 32],
    "unet_config#layers_per_block": 1,
    "max_epochs": 1,
    "val_interval": 1,
    "batch_size": 8,
    "num_workers": 0,
}


def make_volumes(folder: str, number: int = NUM_VOLUMES) -> None:
    """Write so many volumes of noise with two bright blocks, and their label maps."""
    generator = np.random.default_rng(0)
    for name in ("images", "labels"):
        os.makedirs(os.path.join(folder, name))
    for index in range(number):
        label = np.zeros(SHAPE, np.uint8)
        label[4:12, 6:14, 4:16] = 1
        label[14:20, 12:22, 6:18] = 2
        image = (generator.normal(size=SHAPE) + 3 * label).astype(np.float32)
        for name, array in (("images", image), ("labels", label)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), os.path.join(folder, name, f"case_{index}.nii.gz"))


def test_order(test_name1, test_name2):
    """What is trained is evaluated and inferred with afterwards."""

    def order(name):
        return next((place for place, word in enumerate(("train", "evaluate", "infer")) if word in name.lower()), 3)

    return order(test_name1) - order(test_name2)


class TestLeafSeg(unittest.TestCase):
    """The workflows, one after the other, with a network of few channels."""

    @classmethod
    def setUpClass(cls):
        """Make the data."""
        cls.folder = tempfile.mkdtemp()
        cls.dataset_dir = os.path.join(cls.folder, "dataset")
        cls.model_dir = os.path.join(cls.folder, "model")
        make_volumes(cls.dataset_dir)
        sys.path = [BUNDLE, *sys.path]

    @classmethod
    def tearDownClass(cls):
        """Remove all."""
        shutil.rmtree(cls.folder)

    def run_workflow(self, workflow_type, files, override):
        """Check the properties, and run."""
        workflow = ConfigWorkflow(
            workflow_type=workflow_type,
            config_file=[os.path.join(CONFIGS, file) for file in files],
            logging_file=os.path.join(CONFIGS, "logging.conf"),
            meta_file=os.path.join(CONFIGS, "metadata.json"),
            **override,
        )
        workflow.initialize()
        self.assertEqual(workflow.check_properties(), [])
        workflow.run()
        workflow.finalize()

    def test_train_config(self):
        """Leaves a model."""
        override = {**SMALL, "dataset_dir": self.dataset_dir, "output_dir": self.model_dir}
        self.run_workflow("train", ["train.json"], override)
        self.assertTrue(os.path.isfile(os.path.join(self.model_dir, "model.pt")))

    def test_evaluate_config(self):
        """Evaluates the model that training has left."""
        override = {"bundle_root": BUNDLE, "num_workers": 0, "dataset_dir": self.dataset_dir}
        self.run_workflow("train", ["train.json", "evaluate.json"], {**override, "model_dir": self.model_dir})
        report = os.path.join(self.model_dir, "evaluation", "testing")
        self.assertTrue(os.path.isfile(os.path.join(report, "metrics_summary.json")))

    def test_infer_config(self):
        """Segments with that model, and with the shipped one."""
        images = os.path.join(self.dataset_dir, "images")
        for model_dir in (self.model_dir, os.path.join(BUNDLE, "models")):
            output = os.path.join(self.folder, "segmented")
            override = {"bundle_root": BUNDLE, "dataset_dir": images, "model_dir": model_dir, "output_dir": output}
            self.run_workflow("infer", ["inference.json"], override)
            for index in range(NUM_VOLUMES):
                label = nib.load(os.path.join(output, f"case_{index}.nii.gz"))
                self.assertEqual(label.shape, SHAPE)
            shutil.rmtree(output)


if __name__ == "__main__":
    loader = unittest.TestLoader()
    loader.sortTestMethodsUsing = test_order
    unittest.main(testLoader=loader)
