"""Which metrics there are of a case, and what they are where a structure is missing."""

BASIC_METRICS = ("dice", "iou", "hd95", "surface_dice")  # of every evaluation, also of version 0.2.0
METRICS = (*BASIC_METRICS, "dice_positive", "hd95_worst")
DISTANCES = ("hd95", "hd95_worst")  # lower is better; of the others higher is

CONVENTIONS = {
    "dice, iou, surface_dice": "0 to 1, higher is better; class absent from prediction and truth: 1; from one: 0",
    "dice_positive": "dice of the classes that are in the truth; class absent from the truth: undefined, left out of "
    "the mean, as its n shows",
    "hd95": "95th percentile Hausdorff distance, lower is better; class absent from prediction and truth: 0; "
    "from one: undefined, left out of the mean, as its n shows",
    "hd95_worst": "hd95, but with class absent from one the diagonal of the picture or volume, the worst case",
    "surface_dice": "share of both surfaces that lie within the tolerance of each other",
    "distances": "millimetres for NIfTI volumes, pixels for pictures; so is the tolerance of the surface Dice, or "
    "tolerance_share times the diagonal of each picture or volume",
    "false_positives": "n of all pairs (case, class) without the class in the truth in which it was predicted",
    "predicted_empty": "n of all cases with foreground in the truth in which none was predicted, of any class",
}
