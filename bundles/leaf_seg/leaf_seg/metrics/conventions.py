"""Which metrics there are of a case, and what they are where a structure is missing."""

METRICS = ("dice", "iou", "hd95", "surface_dice")

CONVENTIONS = {
    "dice, iou, surface_dice": "0 to 1, higher is better; class absent from prediction and truth: 1; from one: 0",
    "hd95": "95th percentile Hausdorff distance, lower is better; class absent from prediction and truth: 0; "
    "from one: undefined, left out of the mean, as its n shows",
    "surface_dice": "share of both surfaces that lie within the tolerance of each other",
    "distances": "millimetres for NIfTI volumes, pixels for pictures",
}
