"""Interchange: episodes in the forms that others read, and back.

`videoseg-o3` (the released VTS-CoT files) goes both ways; `videoseg-o3-rl`, `sharegpt` (LLaMA-Factory) and `trl`
(SFTTrainer) go out. Every record is written or refused with a reason, and whatever a format has no place for is a
named, counted loss. The same episodes give the same bytes; files appear whole.
"""

from vtscot.interchange.exporting import Exported, export
from vtscot.interchange.importing import Imported, import_released
from vtscot.interchange.validating import FORMATS, Finding, detect, findings

__all__ = ["FORMATS", "Exported", "Finding", "Imported", "detect", "export", "findings", "import_released"]
