"""Sentences as those of `sentences`, written after the leak filter was done: how it does on words it was not made for.

At first sight it found 32 of the 37 leaks and took 1 of the 30 others for one ("About 10 percent", for its capital
letter, which is mended; nothing else was changed for them).
"""

from __future__ import annotations

from typing import Final

UNSEEN_LEAKS: Final[dict[str, tuple[str, ...]]] = {
    "annotation": (
        "This is what the annotation wants.",
        "The ground-truth window starts earlier.",
        "Its segmentation mask has two parts.",
        "The bounding box is cut off at the border.",
        "It is the only annotated animal.",
        "The object mask is split in two.",
    ),
    "marking": (
        "A magenta outline runs along its back.",
        "The marking around it is plain.",
        "I go by the outline.",
        "The animal is circled for me.",
        "The outlined area is brown.",
        "The drawn line leaves out the tail.",
        "The picture has a mark on the left one.",
        "It lies inside the box.",
        "The one with the pink edge is it.",
        "The thin magenta frame is around the left one.",
        "It is shown with a highlight.",
        "The mark in frame {shown} is on the darker one.",
    ),
    "hint": (
        "The hint tells me where to look.",
        "I was given the window.",
        "As the hint says, it leaves.",
        "The facts given say that it stops.",
        "According to my instructions, it is the left one.",
        "I have been told where it is.",
        "The expected answer is the left one.",
    ),
    "coordinates": (
        "It is centred on ({x}, {y}).",
        "It is about {w} pixels across.",
        "It fills 3.1% of the frame.",
        "Left: {x}, top: {y}, width: {w}.",
        "A box of {w} by {h} holds it.",
    ),
    "frame": (
        "I will see it again in frame {future}.",
        "It rests from frame {shown} to frame {future}.",
        "Frame {future} is where it turns.",
        "It disappears after {future}.",
    ),
    "number": (
        "It has a size of {area}.",
        "It is in view in {w} of them.",
        "It needs 2 seconds for that.",
    ),
}

UNSEEN_INNOCENT: Final[tuple[str, ...]] = (
    "The lunch box in her hand is red.",
    "The dog jumps out of the box that stands by the door, a box of wood.",
    "The fencer lifts his mask, and the mask falls.",
    "The outline of her hat is sharp.",
    "The outlines of the trees are blurred.",
    "A blue line runs along the side of the boat.",
    "The dog with the white mark on its chest is on the left.",
    "The marks on the road are worn.",
    "The highlighted words on the page cannot be read.",
    "The pink edge of the cloud is in the upper half.",
    "A frame of wood is around the picture on the wall.",
    "The picture frame hangs on the wall.",
    "The man told to wait stands at the door.",
    "They plan their next move.",
    "The hint of blue on its neck tells it from the others.",
    "The guide points to the right.",
    "It is given food by the keeper.",
    "The teams have 11 players each.",
    "Runner 101 is behind runner 7.",
    "About 10 percent of the picture is sky.",
    "In frame {shown} 4 horses run.",
    "In frame 0, 3 boats can be seen, in frame {shown} only 2.",
    "The digital clock reads 7:05.",
    "The car of the 1980s is parked.",
    "The ship has 21 windows on its side.",
    "The ground is truly wet.",
    "The person in the mirror is not meant.",
    "The overlaid score at the top does not matter.",
    "The boundary of the field is on the right.",
    "The contour of the coast runs to the left.",
)
