"""What `vtscot predict` reads and writes, without torch: the video, the masks, the overlay, the page of the trace.

The policy is run by `vtscot.policy.predict`; a `Trace` is what passes from there to here.
"""
