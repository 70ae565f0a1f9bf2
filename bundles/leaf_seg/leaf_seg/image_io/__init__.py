"""Images as files: what kinds there are, reading and writing them."""

from leaf_seg.image_io.files import case_name, is_picture, is_volume, list_images
from leaf_seg.image_io.writers import write_label, write_map, write_probabilities

__all__ = [
    "case_name",
    "is_picture",
    "is_volume",
    "list_images",
    "write_label",
    "write_map",
    "write_probabilities",
]
