"""What the stages of training share: their place, figures, report, checkpoints, losses of masks, and the way of a run.

`vtscot.sft` and `vtscot.rl` build on it and not on each other. `settings`, `place`, `metrics`, `events`, `saving`,
`curves` and `report` need no torch.
"""
