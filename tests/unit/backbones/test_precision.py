"""Full precision is on for as long as it lasts, and all switches are as before afterwards."""

import pytest
import torch
from torch import backends

from evax.backbones.precision import OPERATIONS, full_precision


def switches():
    """What torch says of every switch; "contradiction" where it raises."""
    asked = (torch.get_float32_matmul_precision, lambda: backends.cudnn.allow_tf32)
    found = [torch.is_autocast_enabled("cpu"), *(operation.fp32_precision for operation in OPERATIONS)]
    for ask in asked:
        try:
            found.append(ask())
        except RuntimeError:
            found.append("contradiction")
    return found


@pytest.fixture(autouse=True)
def _as_it_was():
    """The switches of other tests."""
    each, older = [operation.fp32_precision for operation in OPERATIONS], torch.get_float32_matmul_precision()
    tf32 = backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(older)
    backends.cudnn.allow_tf32 = tf32
    for operation, precision in zip(OPERATIONS, each, strict=True):
        operation.fp32_precision = precision


def of_convolutions(precision):
    backends.cudnn.conv.fp32_precision = precision  # the newer name alone: the older then contradicts it


@pytest.mark.parametrize(
    "choose",
    [
        lambda: None,
        lambda: torch.set_float32_matmul_precision("high"),
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(backends.cuda.matmul, "allow_tf32", True),
        lambda: setattr(backends.cudnn, "allow_tf32", False),
        lambda: setattr(backends.mkldnn.matmul, "fp32_precision", "bf16"),
        lambda: of_convolutions("ieee"),
    ],
    ids=("default", "high", "medium", "matmul", "cudnn", "mkldnn", "contradiction"),
)
def test_nothing_is_rounded_meanwhile_and_every_switch_comes_back(choose):
    choose()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = switches()
        with full_precision():
            assert not torch.is_autocast_enabled("cpu")
            assert {operation.fp32_precision for operation in OPERATIONS} == {"ieee"}
            assert torch.get_float32_matmul_precision() == "highest"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert switches() == before


def test_an_error_and_a_nested_use_leave_the_switches_alone():
    before = switches()
    with pytest.raises(RuntimeError, match="stop"), full_precision(), full_precision():
        raise RuntimeError("stop")
    assert switches() == before


def test_it_decorates_functions_again_and_again():
    @full_precision()
    def product(factor):
        return factor @ factor

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [product(torch.ones(2, 2, dtype=kind)).dtype for kind in (torch.float32, torch.float64, torch.float32)]
        assert torch.is_autocast_enabled("cpu")
    assert found == [torch.float32, torch.float64, torch.float32]
