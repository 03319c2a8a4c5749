"""Multi-turn GRPO with SEG-aware logit calibration; imported as `vtscot.rl`."""
