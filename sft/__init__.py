"""Cold-start training of the policy; imported as `vtscot.sft`."""
