"""An earlier student's tokens."""

import pytest
import torch

from evax.backbones import create_backbone
from evax.checkpoints.weights import WeightsError, export_weights
from evax.data.pixels import normalise
from evax.tokenizers import EvaXTokenizer


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return create_backbone("eva_x_tiny", image_size=64, mask_token=True).eval()


@pytest.fixture(scope="module")
def export(student, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "student.safetensors"
    export_weights(student, path, {"architecture": "eva_x_tiny"})
    return path


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def expected(student, images):
    config = student.pretrained_cfg
    with torch.no_grad():
        return student.forward_tokens(normalise(images, config["mean"], config["std"]))


def test_tokens_are_the_students_final_normed_ones(student, export, images):
    tokenizer = EvaXTokenizer("eva_x_tiny", weights=export, image_size=64, precision="fp32")
    assert (tokenizer.dim, tokenizer.patch_size, tokenizer.loss) == (192, 16, "cosine")
    torch.testing.assert_close(tokenizer(images), expected(student, images), atol=1e-6, rtol=1e-5)


def test_another_size_works(student, export):
    tokenizer = EvaXTokenizer("eva_x_tiny", weights=export, image_size=64, precision="fp32")
    images = torch.rand(1, 3, 96, 48)
    torch.testing.assert_close(tokenizer(images), expected(student, images), atol=1e-6, rtol=1e-5)


def test_a_run_directory_serves_by_its_best(student, images, tmp_path):
    state = {f"backbone.{name}": tensor for name, tensor in student.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    tokenizer = EvaXTokenizer("eva_x_tiny", weights=tmp_path, image_size=64, precision="fp32")
    torch.testing.assert_close(tokenizer(images), expected(student, images), atol=1e-6, rtol=1e-5)


def test_bf16_is_close_to_float32(student, export, images):
    tokenizer = EvaXTokenizer("eva_x_tiny", weights=export, image_size=64, precision="bf16")
    exact, rough = expected(student, images), tokenizer(images)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert 1 - torch.nn.functional.cosine_similarity(rough, exact, dim=-1).mean() < 1e-3


def test_float64_images_are_computed_in_float64(student, export, images):
    tokenizer = EvaXTokenizer("eva_x_tiny", weights=export, image_size=64, precision="bf16")
    torch.testing.assert_close(tokenizer(images.double()), expected(student, images), atol=2e-6, rtol=1e-5)


def test_missing_weights_name_the_key():
    with pytest.raises(WeightsError, match=r"^tokenizer\.weights is not given; it should be a run directory"):
        EvaXTokenizer("eva_x_tiny", weights=None)


def test_another_size_of_student_names_the_file(export):
    with pytest.raises(WeightsError, match=r"student\.safetensors"):
        EvaXTokenizer("eva_x_small", weights=export)


def test_another_model_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"tokenizer.name=vit_base_patch16_224 is none of eva_x_tiny"):
        EvaXTokenizer("vit_base_patch16_224", weights=None)
