"""Every way to map a film, by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jaxtyping import Float, Int
from torch import Tensor

from evax.backbones.precision import full_precision
from evax.explain.attention import attention
from evax.explain.cam import eigen_cam, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from evax.explain.explainable import Explainable
from evax.explain.occlusion import occlusion
from evax.explain.reference_maps import centre_prior, random_map
from evax.explain.relevance import gradient_attention
from evax.explain.rollout import rollout


@dataclass(frozen=True)
class Method:
    """A map of films: `method(explainable, images, classes)`.

    `title` is for figures. A map that is not `of_class` is the same for every class, and needs none; `of_attention`
    is of Transformers only; `of_model` is false for what looks at no model.
    """

    name: str
    title: str
    compute: Callable[[Explainable, Tensor, Tensor], Tensor]
    of_class: bool = True
    of_attention: bool = False
    of_model: bool = True

    def check(self, explainable: Explainable) -> None:
        """Raise ValueError, naming method and model, where the two do not fit."""
        if self.of_attention and not explainable.has_attention:
            raise ValueError(f"{self.name} reads attention, which {explainable.name} does not have; use grad_cam")
        if self.of_class and not explainable.has_classes:
            raise ValueError(f"{self.name} explains a class, but {explainable.name} has no classifier; use rollout")

    @full_precision()
    def __call__(
        self, explainable: Explainable, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"]
    ) -> Float[Tensor, "B R C"]:
        """Raw maps of normalised images for one class a film (its place among the logits), on any grid."""
        self.check(explainable)
        return self.compute(explainable, images, classes)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("grad_cam", "Grad-CAM", grad_cam),
            Method("grad_cam_plus_plus", "Grad-CAM++", grad_cam_plus_plus),
            Method("hires_cam", "HiResCAM", hires_cam),
            Method("layer_cam", "LayerCAM", layer_cam),
            Method("eigen_cam", "EigenCAM", eigen_cam, of_class=False),
            Method("attention", "attention", attention, of_class=False, of_attention=True),
            Method("rollout", "attention rollout", rollout, of_class=False, of_attention=True),
            Method("gradient_attention", "gradient × attention", gradient_attention, of_attention=True),
            Method("occlusion", "occlusion", occlusion),
            Method("random", "random", random_map, of_class=False, of_model=False),
            Method("centre", "centre prior", centre_prior, of_class=False, of_model=False),
        )
    }
)


def method_named(name: str) -> Method:
    """A method, or a ValueError that lists all."""
    if name not in METHODS:
        raise ValueError(f"there is no method {name!r}; choose {', '.join(METHODS)}")
    return METHODS[name]
