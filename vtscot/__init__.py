"""vtscot: verified multi-turn reasoning episodes for video segmentation, and a policy trained on them.

`import vtscot` is cheap: no torch, transformers, datasets or OpenCV is loaded until a stage needs it.
"""

__version__ = "0.1.0"
