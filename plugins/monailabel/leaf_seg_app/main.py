"""The MONAI Label app of leaf_seg; ``monailabel start_server --app`` looks here for the app's class."""

import os

from lib.torchvision_operators import declare_missing_operators

# Training and segmentation share the cores of a CPU, where threads that spin while they wait slow each other several
# times. This is for the processes that the server starts; for itself the variable has to be there before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
declare_missing_operators()  # before MONAI Label imports torchvision

from lib.app import LeafSegApp  # noqa: E402

__all__ = ["LeafSegApp"]
