"""Images as files: which formats there are, listing, reading and writing images in them."""

from typing import TYPE_CHECKING

from leaf_seg.runtime.lazy import names_from

if TYPE_CHECKING:
    from leaf_seg.image_io.formats import format_names, format_of, image_suffix, suffixes
    from leaf_seg.image_io.grid import Grid
    from leaf_seg.image_io.listing import case_name, image_files, list_images
    from leaf_seg.image_io.reading import read_grid, read_image
    from leaf_seg.image_io.reading_options import ReadingOptions
    from leaf_seg.image_io.writing import write_image, write_label, write_map, write_probabilities
else:
    __getattr__ = names_from(
        __name__,
        {
            "formats": ("format_names", "format_of", "image_suffix", "suffixes"),
            "grid": ("Grid",),
            "listing": ("case_name", "image_files", "list_images"),
            "reading": ("read_grid", "read_image"),
            "reading_options": ("ReadingOptions",),
            "writing": ("write_image", "write_label", "write_map", "write_probabilities"),
        },
    )

__all__ = [
    "Grid",
    "ReadingOptions",
    "case_name",
    "format_names",
    "format_of",
    "image_files",
    "image_suffix",
    "list_images",
    "read_grid",
    "read_image",
    "suffixes",
    "write_image",
    "write_label",
    "write_map",
    "write_probabilities",
]
