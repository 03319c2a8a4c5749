"""The data doctor behind `vtscot check`: reads everything, changes nothing, says what is wrong with a split.

Findings come from the faults of the index, by which `vtscot build` skips queries, and from checks that the index does
not make. A fatal finding means that something would be lost; all others are notes.

From the index (fatal unless they are marked as notes):
    frame-missing, frame-broken           frames that are not on disk, or whose first is no image
    mask-length, mask-size, mask-invalid  masks that are too few or too many, of another size, or no RLE
    mask-missing, mask-broken, mask-mode  masks that are files: not on disk, not whole, or in colours
    unknown-anno, no-anno-id, no-obj-id, bad-target    an expression names a target without masks, or does not say it
    never-visible                         the targets of a query are in no frame
    duplicate-expression, duplicate-id, duplicate-anno, duplicate-video    the same text, id, masks or video twice; a
                                          note for texts of a split whose ground truth is held out
    ambiguous-expression                  one text for different targets
    empty-expression, expression-too-long, wrong-type, bad-name, no-frames
    odd-white-space, target-count, stated-size, repeated-ids, unnamed-tracks    notes
From files and pixels:
    frame-broken      a later frame cannot be decoded (fatal)
    frame-size        a frame is of another size than the first of its video (fatal)
    container-length  a clip announces more frames than decode (note), or holds another number than are named (fatal)
    never-visible     a target is in no frame, though its query has others that are (note)
    odd-text          an expression that was damaged on its way: encoding, HTML, invisible characters (note)
    misaligned        the masks of a track do not fit its frames, with the law by which they would and how sure it is
                      (note: `vtscot build` uses them, and its verifier rejects what they spoil)
    no-masks          the ground truth of the split is held out (note)
"""

from vtscot.doctor.examine import examine
from vtscot.doctor.findings import Finding, Report

__all__ = ["Finding", "Report", "examine"]
