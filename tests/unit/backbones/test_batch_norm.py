"""BatchNorm: how many films its statistics are of."""

import pytest
from torch import nn

from evax.backbones.batch_norm import batch_norms, films_in_statistics

CNN = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
OVER_GPUS = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(4)))


@pytest.mark.parametrize(("model", "films"), [(CNN, 16), (OVER_GPUS, 64), (nn.LayerNorm(4), None)])
def test_statistics_are_of_the_films_on_a_device_or_on_all(model, films):
    assert films_in_statistics(model, films_at_once=16, num_ranks=4) == films


def test_one_without_running_statistics_has_none_to_share():
    assert batch_norms(nn.BatchNorm2d(4, track_running_stats=False)) == []
