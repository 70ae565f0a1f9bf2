"""Figures of papers, to stand beside measured ones; their splits, sizes and lengths of training are others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = (
    "Dice / IoU in % of Huang et al. (LEAF, MICCAI 2025), Tables 1 and 2; in brackets what is said elsewhere. Their "
    "splits, image sizes, lengths of training and conventions are not those of this table: compare measured figures "
    "with each other."
)


@dataclass(frozen=True)
class Published:
    """What papers say of one data set.

    Attributes:
        name: of the data set.
        rows: cells by the name of the method; Dice / IoU in %.
        others: of methods that are not here, Dice in %.
    """

    name: str
    rows: Mapping[str, str]
    others: str = ""


PUBLISHED = {
    "cvc_clinicdb": Published(
        "CVC-ClinicDB",
        {
            "leaf": "95.2 / 90.9 (without alignment 94.5)",
            "sdseg": "93.6 / 89.3 (reproduced by its users: 85.7)",
            "medsegdiff": "92.4 / 88.9",
            "swin_unet": "91.4 / 87.4",
            "transunet": "92.0 / 87.8 (87.4)",
            "unet": "85.6 / 80.5 (82.3)",
        },
        "PraNet 89.9, VM-UNet 91.9, Polyp-PVT 93.7, GeoSemba 94.8",
    ),
    "isic2018": Published(
        "ISIC 2018",
        {
            "leaf": "90.5 / 84.1 (without alignment 90.4)",
            "sdseg": "88.1 / 79.7",
            "medsegdiff": "85.5 / 74.7 (reproduced by its users: 27)",
            "transunet": "88.7 / 79.7 (87.3)",
            "unet": "87.6 / 77.9",
        },
        "VM-UNet 89.7, GeoSemba 91.1",
    ),
    "qata": Published(
        "QaTa-COV19",
        {
            "leaf": "80.2 / 71.0 (without alignment 79.1)",
            "sdseg": "77.6 / 68.0",
            "medsegdiff": "76.5 / 67.2",
            "swin_unet": "78.1 / 68.3",
            "transunet": "78.6 / 69.1 (78.6)",
            "unet": "79.0 / 69.5 (79.0)",
        },
        "nnU-Net 80.4",
    ),
    "refuge2": Published(
        "REFUGE2, optic cup",
        {
            "leaf": "89.5 / 81.5 (without alignment 89.2)",
            "sdseg": "88.7 / 80.9",
            "medsegdiff": "86.3 / 78.2",
            "swin_unet": "84.3 / -",
            "transunet": "85.6 / - (85.4)",
            "unet": "80.1 / -",
        },
        "nnU-Net 83.6, MedSegDiff-V2 87.9",
    ),
}
