"""Class activation maps: the target layer's channels, weighted by what the class's logit makes of them.

Written here, and tested equal to the grad-cam library: that one walks back through every weight of the model and
leaves gradients there, sees activations only after layers that change them in place (the last BatchNorm of timm's
ResNets), and gives maps already resized and scaled to [0, 1], film by film.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from evax.explain.activations import activations, sense
from evax.explain.explainable import Explainable

EPSILON = 1e-6  # of Grad-CAM++'s denominator, as in the library

Images = Float[Tensor, "B 3 H W"]
Maps = Float[Tensor, "B R C"]


def grad_cam(explainable: Explainable, images: Images, classes: Int[Tensor, "B"]) -> Maps:
    """ReLU of the sum over channels of mean gradient times activation (Selvaraju et al. 2017, equations 1 and 2)."""
    sensed = sense(explainable, images, classes)
    weights = sensed.gradients.mean((2, 3), keepdim=True)
    return (weights * sensed.activations).sum(1).relu()


def grad_cam_plus_plus(explainable: Explainable, images: Images, classes: Int[Tensor, "B"]) -> Maps:
    """Grad-CAM whose channel weights favour places with a rising logit (Chattopadhay et al. 2018, equation 19)."""
    shown, slope = sense(explainable, images, classes)
    total = shown.sum((2, 3), keepdim=True)
    alpha = slope**2 / (2 * slope**2 + total * slope**3 + EPSILON)
    weights = (torch.where(slope == 0, 0.0, alpha) * slope.relu()).sum((2, 3), keepdim=True)
    return (weights * shown).sum(1).relu()


def hires_cam(explainable: Explainable, images: Images, classes: Int[Tensor, "B"]) -> Maps:
    """ReLU of gradient times activation, place by place (Draelos and Carin 2020)."""
    sensed = sense(explainable, images, classes)
    return (sensed.gradients * sensed.activations).sum(1).relu()


def layer_cam(explainable: Explainable, images: Images, classes: Int[Tensor, "B"]) -> Maps:
    """Rising gradients times activation, place by place (Jiang et al. 2021)."""
    sensed = sense(explainable, images, classes)
    return (sensed.gradients.relu() * sensed.activations).sum(1).relu()


def eigen_cam(explainable: Explainable, images: Images, classes: Int[Tensor, "B"]) -> Maps:
    """Each film's first principal component of the activations (Muhammad and Yeasin 2020); it knows no class.

    A component has no sign of its own: the larger end is called positive.
    """
    shown = activations(explainable, images)
    places = shown.flatten(2).mT  # (B, N, D)
    places = places - places.mean(1, keepdim=True)
    left, scale, _ = torch.linalg.svd(places, full_matrices=False)
    first = left[..., 0] * scale[..., :1]
    sign = torch.where(first.amax(1) >= -first.amin(1), 1.0, -1.0)
    return (first * sign[:, None]).unflatten(1, shown.shape[-2:]).relu()
