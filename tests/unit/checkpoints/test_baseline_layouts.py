"""Files of the paper's baselines: full key sets count what the documentation counts, numbers arrive, slips are told."""

import re
from pathlib import Path

import foreign_files as files
import pytest
import timm
import torch
import torchvision
from foreign_files import filled, weightless

from evax.checkpoints.inspection import find_fits
from evax.checkpoints.published import PUBLISHED, published_file
from evax.checkpoints.weight_files import Content, under_timm_names
from evax.checkpoints.weights import WeightsError, fit_weights, load_weights
from evax.data.normalisation import HALF, IMAGENET, UNIT
from evax.runs.weights import on_meta

RESNET, DENSENET = files.torchvision_cnn("resnet50"), files.torchvision_cnn("densenet121")
POOLED, CHUNKED = {"global_pool": "avg"}, {"global_pool": "avg", "patch_size": 16, "img_size": 512}

# file, its layout, timm's model and settings, tensors that must match, normalisation that the layout tells
FULL = {
    "ImageNet R50": (RESNET, "ResNet", "resnet50", {}, 318, None),
    "ImageNet R50, before counts": (files.uncounted(RESNET), "ResNet", "resnet50", {}, 265, None),
    "ImageNet DN121": (files.old_densenet(), "DenseNet", "densenet121", {}, 604, None),
    "DN121, newer names": (DENSENET, "DenseNet", "densenet121", {}, 725, None),
    "MoCo v2 R50": (files.moco(RESNET), "MoCo", "resnet50", {}, 318, None),
    "MoCo v2 DN121": (files.moco(DENSENET), "MoCo", "densenet121", {}, 725, None),
    "MGCA R50": (files.mgca_resnet(), "MGCA ResNet", "resnet50", {}, 318, HALF),
    "BioViL R50": (files.biovil(), "BioViL", "resnet50", {}, 318, UNIT),
    "MedKLIP R50": (files.medklip(), "MedKLIP", "resnet50", {}, 258, IMAGENET),
    "Medical MAE DN121": (files.medical_mae_densenet(), "Medical MAE DenseNet", "densenet121", {}, 725, None),
    "torchxrayvision DN121": (files.torchxrayvision_densenet(), "DenseNet", "densenet121", {}, 725, None),
    "Medical MAE S, pooled": (files.mae(384), "MAE", "vit_small_patch16_224", POOLED, 150, None),
    "SelfMedMAE B": (files.selfmedmae(768), "SelfMedMAE", "vit_base_patch16_224", POOLED, 150, None),
    "RAD-DINO": (files.dinov2(768, 12, 14, 1370), "timm ViT", "vit_base_patch14_dinov2", POOLED, 174, None),
    "XRay-DINO": (
        files.dinov2(1024, 24, 16, 1025, chunks=4),
        "DINOv2 in chunks",
        "vit_large_patch14_dinov2",
        CHUNKED,
        342,
        None,
    ),
}


def read(shapes):
    return under_timm_names(Content(Path("file.pt"), "flat", weightless(shapes), {}))


@pytest.mark.parametrize("name", FULL)
def test_a_file_of_full_size_matches_what_is_documented(name):
    shapes, layout, backbone, settings, count, normalisation = FULL[name]
    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=0, **settings)
    weights = read(shapes)
    _, report = fit_weights(model, weights)
    assert (report.layout, len(report.matched), report.unexpected) == (layout, count, ())
    assert report.normalisation == normalisation
    assert report.resized == (("features.conv0.weight",) if "torchxrayvision" in name else ())
    missing = {tuple(part for part in ("layer4", "num_batches_tracked") if part in each) for each in report.missing}
    assert missing <= {("layer4",), ("layer4", "num_batches_tracked"), ("num_batches_tracked",)}
    assert bool(missing) == (count in (258, 265, 604))


def saved(content, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_a_cnn_computes_what_torchvision_s_does(tmp_path):
    source = torchvision.models.densenet121(num_classes=2).eval()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", n): t for n, t in source.state_dict().items()}
    model = timm.create_model("densenet121", num_classes=0).eval()
    load_weights(model, saved(old, tmp_path / "old.pth"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = torch.relu(source.features(images)).mean((2, 3))
        torch.testing.assert_close(model(images), expected)


def test_a_first_kernel_of_one_channel_reads_three_equal_ones(tmp_path):
    narrow = {"block_config": (1, 1, 1, 1), "num_classes": 0}
    source = timm.create_model("densenet121", in_chans=1, **narrow).eval()
    model = timm.create_model("densenet121", **narrow).eval()
    report = load_weights(model, saved(source.state_dict(), tmp_path / "grey.pt"))
    assert report.resized == ("features.conv0.weight",)
    films = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(films.expand(-1, 3, -1, -1)), source(films))


def test_fixed_positions_of_selfmedmae_arrive(tmp_path):
    state = filled(files.selfmedmae(64, depth=2))
    model = timm.create_model("vit_base_patch16_224", embed_dim=64, depth=2, num_heads=2, num_classes=0)
    load_weights(model, saved({"state_dict": files_under_module(state)}, tmp_path / "a.pth.tar"))
    assert torch.equal(model.pos_embed, state["encoder_pos_embed"])
    assert torch.equal(model.blocks[1].mlp.fc2.weight, state["encoder.blocks.1.mlp.fc2.weight"])


def files_under_module(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


def test_blocks_in_chunks_keep_their_order(tmp_path):
    state = filled(files.dinov2(64, 4, 16, 5, chunks=2))
    model = timm.create_model(
        "vit_large_patch14_dinov2", embed_dim=64, depth=4, num_heads=2, num_classes=0, patch_size=16, img_size=32
    )
    load_weights(model, saved(state, tmp_path / "chunks.pth"))
    assert torch.equal(model.blocks[3].ls1.gamma, state["blocks.1.3.ls1.gamma"])


@pytest.mark.parametrize("cut", ["layer3.0.conv1.weight", "bn1.weight"])
def test_a_tensor_that_only_a_fault_takes_away_is_named(cut):
    with torch.device("meta"):
        model = timm.create_model("resnet50", num_classes=0)
    shapes = {name: shape for name, shape in files.biovil().items() if not name.endswith(f"encoder.{cut}")}
    with pytest.raises(WeightsError, match=rf"layout BioViL\): lacks 1 \({cut}\)") as refusal:
        fit_weights(model, read(shapes))
    assert "\n" not in str(refusal.value)


def test_only_medklip_may_lack_the_fourth_stage():
    with torch.device("meta"):
        model = timm.create_model("resnet50", num_classes=0)
    shapes = {name: shape for name, shape in RESNET.items() if not name.startswith("layer4.")}
    with pytest.raises(WeightsError, match=r"lacks 50 \(layer4\."):
        fit_weights(model, read(shapes))


def test_another_system_s_backbone_is_refused_in_one_line():
    with torch.device("meta"):
        model = timm.create_model("densenet121", num_classes=0)
    message = r"no name fits the model \(layout MedKLIP\).*choose the backbone of the file: .*resnet50"
    with pytest.raises(WeightsError, match=message) as refusal:
        fit_weights(model, read(files.medklip()))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("shapes", "backbone"), [(files.medklip(), "resnet50"), (DENSENET, "densenet121")])
def test_a_cnn_s_file_is_recognised(shapes, backbone):
    fits = find_fits(read(shapes), on_meta)
    assert [fit.entry.backbone for fit in fits] == [backbone]


def test_a_folder_means_the_file_that_was_published(tmp_path):
    entry = next(entry for entry in PUBLISHED if entry.name == "resnet50_mgca")
    (tmp_path / entry.file).touch()
    assert published_file(tmp_path, "resnet50_mgca") == tmp_path / "resnet_50.ckpt"
    assert published_file(tmp_path / "mine.ckpt.bak", None) == tmp_path / "mine.ckpt.bak"


def test_a_run_directory_stays_one(tmp_path):
    (tmp_path / "best.ckpt").touch()
    assert published_file(tmp_path, "resnet50_mgca") == tmp_path


@pytest.mark.parametrize("folder", [".", "absent"])
def test_where_nothing_is_it_says_where_to_get_it(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"there is no resnet_50\.ckpt; open https://github\.com/HKU-MedAI/MGCA"):
        published_file(tmp_path / folder, "resnet50_mgca")
