"""Rendered inspection pictures: surfaces and parts, their defects, and exact masks.

Used to pretrain the bundled backbone and to write the sample data set. numpy, scipy and OpenCV only.
"""

from augment.render.sample import render_dataset
from augment.render.scene import Scene, render_scene

__all__ = ["Scene", "render_dataset", "render_scene"]
