"""The MONAI Label app of leaf_seg; ``monailabel start_server --app`` looks here for the app's class."""

from lib.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before MONAI Label imports torchvision

from lib.app import LeafSegApp  # noqa: E402

__all__ = ["LeafSegApp"]
