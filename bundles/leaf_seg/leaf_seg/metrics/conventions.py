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

RATER_METRICS = ("ged", "hm_iou", "d_max", "s_c", "d_a", "ci", "volume_crps")
RATER_CONVENTIONS = {
    "ged": "generalised energy distance, squared: 2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')] of hypotheses S and raters "
    "Y with d = 1 - IoU, over all pairs, self-pairs included; 0 to 2, lower is better",
    "hm_iou": "mean IoU of the best one-to-one matching of hypotheses and raters; where their numbers differ, both are "
    "repeated to the least common multiple (matched) first; 0 to 1, higher is better",
    "d_max": "mean over the raters of the Dice of the closest hypothesis; 0 to 1, higher is better",
    "s_c": "share of what any rater marked that any hypothesis has; 1 where no rater marked anything",
    "d_a": "1 - (|difference of Vmax| + |difference of Vmin|) / 2 of hypotheses and raters, V the variance over all "
    "pixels of the difference of two masks, over the pairs of different masks, 0 where there is one mask",
    "ci": "collective insight, 3 s_c d_max d_a / (s_c + d_max + d_a)",
    "volume_crps": "mean over the raters of the continuous ranked probability score of the structure's size over the "
    "hypotheses, self-pairs included; mL for volumes, pixels for pictures, lower is better",
    "empty masks": "two empty masks have IoU = Dice = 1",
    "classes": "each foreground class by itself; mean_foreground is the mean of the classes of a case",
}
