"""A procedural frontal chest radiograph: drawn as a plan first, rendered second."""

from evax.data.phantom.plan import FINDINGS, FilmPlan, Lesion, draw_plan
from evax.data.phantom.render import render

__all__ = ["FINDINGS", "FilmPlan", "Lesion", "draw_plan", "render"]
