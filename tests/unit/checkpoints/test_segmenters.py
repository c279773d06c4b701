"""What a checkpoint of segmentation says of itself."""

import pytest
import torch
from tiny import tiny_backbone, tiny_data, tiny_trainer

from evax.checkpoints.classifiers import is_classifier
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.files import read_checkpoint, write_checkpoint
from evax.checkpoints.segmenters import describe_segmenter, is_segmenter
from evax.checkpoints.weight_files import read_content, under_timm_names
from evax.checkpoints.weights import load_weights
from evax.data.masks import MaskPolicy
from evax.optim import AdamWPolynomial
from evax.tasks import Segmenter


@pytest.fixture(scope="module")
def task_and_file(pack_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = tiny_data(pack_folder, masking=None, masks=MaskPolicy("lungs", {"lung": [1, 2]}))
    settings = {"classes": ["lung"], "optim": AdamWPolynomial(), "seed": 0, "taps": "four", "channels": 16}
    task = Segmenter(backbone=tiny_backbone(mask_token=False), **settings)
    trainer = tiny_trainer(folder, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(task, data)
    state = {"state_dict": task.state_dict(), "global_step": 1}
    task.on_save_checkpoint(state)
    write_checkpoint(state, folder / "best.ckpt")
    return task, folder / "best.ckpt"


def test_it_tells_classes_plan_view_and_head(task_and_file):
    task, file = task_and_file
    content = read_content(file)
    weights = under_timm_names(content)
    described = describe_segmenter(content, weights)
    assert described.facts == task.facts
    assert (described.facts.classes, described.facts.taps, described.facts.channels) == (("lung",), "four", 16)
    assert described.view == task.data.view
    assert described.head.keys() == task.head.state_dict().keys()
    assert all(torch.equal(described.head[name], each.float()) for name, each in task.head.state_dict().items())


def test_it_is_no_classifier_and_its_backbone_loads(task_and_file):
    task, file = task_and_file
    content = read_content(file)
    assert is_segmenter(content)
    assert not is_classifier(content, under_timm_names(content))
    backbone = tiny_backbone(mask_token=False)
    load_weights(backbone, file)
    torch.testing.assert_close(backbone.state_dict(), task.backbone.state_dict())


def test_a_file_without_a_segmenter_is_refused_with_the_way_to_one(task_and_file, tmp_path):
    state = read_checkpoint(task_and_file[1])
    del state["segmentation"]
    write_checkpoint(state, tmp_path / "mim.ckpt")
    content = read_content(tmp_path / "mim.ckpt")
    with pytest.raises(WeightsError, match=r"mim\.ckpt: was not trained for segmentation; .*experiment=segment_lung"):
        describe_segmenter(content, under_timm_names(content))
