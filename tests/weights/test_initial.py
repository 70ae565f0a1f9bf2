from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from diffusers import DDIMScheduler
from monai.bundle import ConfigParser
from safetensors.torch import save_file

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.diffusion import Ddim, DiffusionSettings, OneStep
from leaf_seg.networks import (
    BasicUNetSegmenter,
    ClassMasksCodec,
    ClassPassSegmenter,
    LatentDecoder,
    LatentEncoder,
    LatentSegmenter,
    MaskCodec,
    build_unet,
)
from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME, Autoencoder
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import (
    check_start,
    default_autoencoder,
    initial_segmenter,
    load_network,
    own_autoencoder,
    save_model,
    trained_with,
)
from tests.conftest import TINY_UNET

TRAIN_CONFIG = Path(__file__).parents[2] / "bundles" / "leaf_seg" / "configs" / "train.json"


@pytest.fixture
def start(make_autoencoder: Callable[..., Autoencoder]) -> Callable[..., LatentSegmenter]:
    def make(**options: Any) -> LatentSegmenter:
        autoencoder = options.pop("autoencoder", None) or make_autoencoder()
        arguments: dict[str, Any] = {
            "image_encoder": LatentEncoder(autoencoder, dropout=options.pop("encoder_dropout", 0.0)),
            "mask_decoder": LatentDecoder(autoencoder, options.pop("train_decoder", False)),
            "unet_config": TINY_UNET,
            "diffusion": DiffusionSettings(DDIMScheduler(clip_sample=False)),
            "image_size": (16, 16),
            "codec": MaskCodec(options.pop("num_classes", 3)),
        }
        return initial_segmenter(**(arguments | options))

    return make


def saved(network: Any, folder: Path, num_classes: int) -> Path:
    names = tuple(f"class_{index}" for index in range(num_classes))
    return save_model(network, ModelSettings(names, network.image_size), folder)


def test_random_weights(start: Callable[..., LatentSegmenter]) -> None:
    network = start(diffusion=DiffusionSettings(DDIMScheduler(clip_sample=False), "v"), encoder_dropout=0.2)
    assert network.diffusion.parameterization == "v"
    assert network.config["image_encoder"]["dropout"] == 0.2
    with pytest.raises(InputError, match="clip_sample on"):
        start(diffusion=DiffusionSettings(DDIMScheduler()))


@pytest.mark.parametrize("num_classes", [2, 4, 6])
def test_from_an_unconditional_unet(start: Callable[..., LatentSegmenter], num_classes: int, tmp_path: Path) -> None:
    published = build_unet({**TINY_UNET, "in_channels": 4, "out_channels": 4})
    published.save_pretrained(tmp_path)
    unet = start(unet_dir=tmp_path, num_classes=num_classes).unet.eval()
    masks = 1 if num_classes < 5 else 2
    assert (unet.config["in_channels"], unet.config["out_channels"]) == (4 + 4 * masks, 4 * masks)
    latent = torch.randn(2, 4, 4, 4)
    with torch.no_grad():  # the image latent and each mask latent weigh the same
        found = unet(latent.repeat(1, 1 + masks, 1, 1), 7).sample
        expected = published.eval()(latent, 7).sample.repeat(1, masks, 1, 1)
    torch.testing.assert_close(found, expected)


def test_unet_weights_that_do_not_fit(start: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--unet_dir '\$None'"):
        start(unet_dir=tmp_path)
    build_unet({**TINY_UNET, "in_channels": 4, "out_channels": 4, "layers_per_block": 2}).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="layers_per_block: 1, there 2"):
        start(unet_dir=tmp_path)
    build_unet({**TINY_UNET, "in_channels": 4, "out_channels": 4}).save_pretrained(tmp_path)
    save_file({"conv_in.bias": torch.zeros(8)}, tmp_path / DIFFUSERS_WEIGHTS_NAME)
    with pytest.raises(InputError, match="do not fit the U-Net of unet_config"):
        start(unet_dir=tmp_path)


def test_unet_weights_of_another_function(start: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    """The shapes fit, but the number of heads is another."""
    unet = build_unet({**TINY_UNET, "in_channels": 4, "out_channels": 4, "num_attention_heads": 4})
    unet.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="num_attention_heads: 2, there 4"):
        start(unet_dir=tmp_path, unet_config={**TINY_UNET, "num_attention_heads": 2})
    start(unet_dir=tmp_path, unet_config={**TINY_UNET, "num_attention_heads": 4, "dropout": 0.1})


def test_a_clipping_model_does_not_clip_when_it_is_trained_on(
    start: Callable[..., LatentSegmenter], make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    model = make_segmenter(scheduler=DDIMScheduler(500, clip_sample=True))
    network = start(init_dir=saved(model, tmp_path, 3))
    assert (model.schedule.clip_range, network.schedule.clip_range) == (1.0, None)
    assert network.schedule.last == 499


def test_no_such_model(start: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No folder .*: --init_dir"):
        start(init_dir=tmp_path / "nowhere")


def test_from_a_saved_model(
    start: Callable[..., LatentSegmenter], make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    """The same classes and size: the same network, whatever the config says of the rest."""
    model = make_segmenter(seed=0, parameterization="eps", ldm_schedule=True, image_latent_first=False)
    torch.nn.init.normal_(
        model.get_parameter("image_encoder.encoder.conv_in.weight")
    )  # trained on: not the autoencoder's any more
    network = start(init_dir=saved(model, tmp_path, 3), unet_config={"dropout": 0.3}).eval()
    assert network.unet.down_blocks[0].resnets[0].dropout.p == 0.3
    assert network.diffusion.parameterization == "eps"
    assert not network.diffusion.image_latent_first
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(image), model(image))


@pytest.mark.parametrize("image_latent_first", [True, False])
@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 8), (8, 3), (5, 11)])
def test_other_classes(
    start: Callable[..., LatentSegmenter],
    make_segmenter: Callable[..., LatentSegmenter],
    tmp_path: Path,
    before: int,
    after: int,
    image_latent_first: bool,
) -> None:
    model = make_segmenter(num_classes=before, image_latent_first=image_latent_first)
    network = start(init_dir=saved(model, tmp_path, before), num_classes=after, image_size=(24, 32)).eval()
    image = torch.rand(2, 3, 24, 32)
    with torch.no_grad():
        assert network(image).shape == (2, after, 24, 32)
        old, new = model.codec.num_images, network.codec.num_images
        latent = torch.randn(2, 4, 4, 4)
        mask = torch.randn(2, 4, 4, 4)  # every mask latent the same: then repeating or leaving out changes nothing
        timesteps = torch.tensor([3, 900])
        expected = model.denoise(latent, mask.repeat(1, old, 1, 1), timesteps)
        found = network.denoise(latent, mask.repeat(1, new, 1, 1), timesteps)
    if new >= old:
        torch.testing.assert_close(found[:, : 4 * old], expected)
        return
    kept = slice(0, 4) if not image_latent_first else slice(4, 8)  # the first mask latent's, and it alone
    torch.testing.assert_close(network.unet.conv_in.weight[:, kept], model.unet.conv_in.weight[:, kept] * old / new)
    assert torch.equal(network.unet.conv_out.weight, model.unet.conv_out.weight[: 4 * new])
    assert torch.equal(network.unet.conv_out.bias, model.unet.conv_out.bias[: 4 * new])


def test_a_model_of_another_autoencoder_is_refused(
    start: Callable[..., LatentSegmenter],
    make_segmenter: Callable[..., LatentSegmenter],
    make_autoencoder: Callable[..., Autoencoder],
    tmp_path: Path,
) -> None:
    folder = saved(make_segmenter(), tmp_path, 3)
    with pytest.raises(InputError, match="another autoencoder"):
        start(init_dir=folder, autoencoder=make_autoencoder(seed=1))
    rescaled = make_autoencoder()
    rescaled.register_to_config(scaling_factor=0.9)
    with pytest.raises(InputError, match="another autoencoder"):
        start(init_dir=folder, autoencoder=rescaled)


def test_a_model_whose_decoder_was_trained(
    start: Callable[..., LatentSegmenter],
    make_segmenter: Callable[..., LatentSegmenter],
    make_autoencoder: Callable[..., Autoencoder],
    tmp_path: Path,
) -> None:
    model = make_segmenter(train_decoder=True)
    for parameter in model.mask_decoder.parameters():  # not the autoencoder's any more
        torch.nn.init.normal_(parameter)
    folder = saved(model, tmp_path, 3)
    network = start(init_dir=folder, train_decoder=True).eval()
    assert network.mask_decoder.trainable
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(image), model(image))
    with pytest.raises(InputError, match="train_decoder is false, and the decoder of the model in"):
        start(init_dir=folder)
    with pytest.raises(InputError, match="another autoencoder"):
        start(init_dir=folder, train_decoder=True, autoencoder=make_autoencoder("tiny"))


def test_training_goes_on_as_the_model_was_trained(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    settings = ModelSettings(("background", "a", "b"), (16, 16))
    save_model(make_segmenter(), settings, tmp_path, {"image_loss_weight": 5.0})
    assert trained_with(tmp_path, "image_loss_weight", 0.0) == 5.0
    assert trained_with(tmp_path, "terminal_probability", 0.0) == 0.0  # a model of before does not say
    assert trained_with(None, "image_loss_weight", 0.0) == 0.0
    with pytest.raises(InputError, match=r"No folder .*: --init_dir"):
        trained_with(tmp_path / "nowhere", "image_loss_weight", 0.0)


@pytest.mark.parametrize(("init_dir", "steps"), [(None, 100), ("runs/model", 20)])
def test_a_trained_model_needs_a_shorter_warm_up(init_dir: str | None, steps: int) -> None:
    config = ConfigParser()
    config.read_config(TRAIN_CONFIG)
    config["init_dir"] = init_dir
    assert config.get_parsed_content("warmup_steps").at_most == steps


def test_a_model_of_another_kind_is_refused(start: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    folder = saved(BasicUNetSegmenter(3, (32, 32)), tmp_path, 3)
    with pytest.raises(InputError, match="holds a BasicUNetSegmenter"):
        start(init_dir=folder)


def test_the_model_s_own_autoencoder(tmp_path: Path) -> None:
    assert own_autoencoder(None, "another") == "another"
    assert own_autoencoder(tmp_path, "another") == "another"
    (tmp_path / "autoencoder").mkdir()
    assert own_autoencoder(tmp_path, "another") == str(tmp_path / "autoencoder")
    assert default_autoencoder(tmp_path, "models") == str(tmp_path / "autoencoder")


def test_the_shipped_autoencoder_is_the_light_one_unless_the_model_has_the_other(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    assert default_autoencoder(None, "models") == "models/light_autoencoder"
    for kind, name in (("kl", "autoencoder"), ("tiny", "light_autoencoder")):
        folder = saved(make_segmenter(autoencoder=kind), tmp_path / kind, 3)
        assert default_autoencoder(folder, "models") == f"models/{name}"
    with pytest.raises(InputError, match="No folder"):
        default_autoencoder(tmp_path / "nothing", "models")


def test_an_encoder_of_another_kind_is_refused(
    start: Callable[..., LatentSegmenter],
    make_segmenter: Callable[..., LatentSegmenter],
    make_autoencoder: Callable[..., Autoencoder],
    tmp_path: Path,
) -> None:
    class Other(LatentEncoder):
        """A method's own."""

    folder = saved(make_segmenter(), tmp_path, 3)
    with pytest.raises(InputError, match="in init_dir is a LatentEncoder, that of the config a Other"):
        start(init_dir=folder, image_encoder=Other(make_autoencoder()))


def test_another_sampler_is_told(
    start: Callable[..., LatentSegmenter],
    make_segmenter: Callable[..., LatentSegmenter],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = saved(make_segmenter(sampler=Ddim(3)), tmp_path, 3)
    with caplog.at_level("INFO"):
        assert start(init_dir=folder, sampler=OneStep()).sampler == OneStep()
    assert "The model sampled by Ddim(num_steps=3); trained on, it samples by OneStep()" in caplog.text


@pytest.mark.parametrize("words", [["--parameterization", "v"], ["--unet_config#dropout", "0.1"], []])
def test_settings_that_the_model_has_of_its_own(words: list[str]) -> None:
    program = str(Path(monai.bundle.__file__).with_name("__main__.py"))
    argv = [program, "run", "training", "--config_file", str(TRAIN_CONFIG), "--init_dir", "runs/model", *words]
    if "--parameterization" not in words:
        check_start(argv)
        return
    with pytest.raises(InputError, match="--parameterization would have no effect: init_dir is runs/model"):
        check_start(argv)
    check_start([word for word in argv if word not in ("--init_dir", "runs/model")])


def of_classes(number: int) -> dict[str, Any]:
    """Options of a network that is told a class."""
    unet_config = {**TINY_UNET, "num_class_embeds": number}
    return {"kind": ClassPassSegmenter, "codec": ClassMasksCodec(number), "unet_config": unet_config}


def test_classes_that_the_network_is_told(start: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    """From a model that is told none, to as many classes, to other classes, and to none again."""
    plain = saved(start(num_classes=2), tmp_path / "plain", 2)
    first = start(**of_classes(3), init_dir=plain)
    kept = "unet.down_blocks.0.resnets.0.conv1.weight"
    assert torch.equal(first.state_dict()[kept], load_network(plain).state_dict()[kept])

    told = saved(first, tmp_path / "told", 3)
    embedding = first.unet.class_embedding.weight
    assert torch.equal(start(**of_classes(3), init_dir=told).unet.class_embedding.weight, embedding)
    other = start(**of_classes(5), init_dir=told)
    assert other.unet.class_embedding.weight.shape == (5, embedding.shape[1])
    for network in (first, other):
        assert network(torch.rand(1, 3, 16, 16)).shape == (1, network.num_classes, 16, 16)
    none = start(num_classes=6, init_dir=told)
    assert type(none) is LatentSegmenter
    assert none.unet.config["num_class_embeds"] is None
    assert torch.equal(none.state_dict()[kept], first.state_dict()[kept])
    assert none(torch.rand(1, 3, 16, 16)).shape == (1, 6, 16, 16)
