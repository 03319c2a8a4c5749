"""The policy: Qwen3-VL and SAM 2 joined at the token `[SEG]`.

`Policy` (model.py) is the model, `PolicyProcessor` (processor.py) turns text and images into its inputs, and tokens.py
turns an Episode into a training sample. Nothing here is imported by `import vtscot` or `vtscot --help`: it needs the
extra `train` (torch, transformers, peft).
"""
