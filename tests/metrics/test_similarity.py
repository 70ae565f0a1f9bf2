"""How alike label maps look, against MONAI's metrics and by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric, PSNRMetric, SSIMMetric

from leaf_seg.metrics import mask_similarity, summarize_similarity


def test_a_picture_is_compared_as_monai_does() -> None:
    reference = torch.zeros(180, 200, dtype=torch.uint8)
    reference[40:120, 50:160] = 1
    pred = reference.roll((3, 2), (0, 1))
    found = mask_similarity(pred, reference, 3)
    first, second = ((maps == 1)[None, None].float() for maps in (pred, reference))
    for name, metric in (("ssim", SSIMMetric(2)), ("ms_ssim", MultiScaleSSIMMetric(2))):
        metric(first, second)
        assert found[name][0] == pytest.approx(float(torch.as_tensor(metric.aggregate())), rel=1e-5)
        assert found[name][0] < 0.99
        assert found[name][1] == pytest.approx(1)  # class 2 is in neither
    psnr = PSNRMetric(max_val=1)
    psnr(first, second)
    summary = json.loads(json.dumps(summarize_similarity([found], ["a", "b"]), allow_nan=False))
    assert summary["classes"]["a"]["psnr"] == pytest.approx(float(torch.as_tensor(psnr.aggregate())), rel=1e-5)
    assert summary["classes"]["b"] == {"psnr": None, "ssim": pytest.approx(1), "ms_ssim": pytest.approx(1)}
    mse = found["mse"][0] / 2  # over both classes
    assert summary["mean_foreground"]["psnr"] == pytest.approx(-10 * math.log10(mse))


def test_volumes_go_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaf_seg.metrics.similarity._PART", 2)  # the last part is smaller
    pred, reference = torch.randint(0, 2, (2, 20, 24, 3))
    found = mask_similarity(pred, reference, 2)
    slices = [mask_similarity(pred[..., i], reference[..., i], 2) for i in range(3)]
    for name in ("mse", "ssim"):
        assert found[name][0] == pytest.approx(sum(one[name][0] for one in slices) / 3, rel=1e-5)
    assert math.isnan(found["ms_ssim"][0])


def test_small_pictures_have_an_error_only() -> None:
    found = mask_similarity(torch.ones(5, 30), torch.zeros(5, 30), 2)
    assert found["mse"] == [1.0]
    assert math.isnan(found["ssim"][0])
    assert summarize_similarity([found], ["a"])["classes"]["a"] == {"psnr": 0, "ssim": None, "ms_ssim": None}
    with pytest.raises(ValueError, match="differ in shape"):
        mask_similarity(torch.ones(5, 30), torch.zeros(5, 31), 2)
