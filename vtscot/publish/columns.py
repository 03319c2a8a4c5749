"""The columns of a VTS-CoT row, stated once: the Hugging Face features, and the Arrow schema that follows from them.

Every config has the same columns, so that configs can be concatenated. What a licence keeps at home is null:
`images`, `decoded_masks`, `track` and the mask size. Masks are COCO RLE counts (compressed, ASCII) of
`mask_height` x `mask_width`; `images` holds one JPEG per image placeholder of `messages`, in order. Digests tell
whether somebody's own copy of the source has the same frames (`frames`) and the same masks (`masks_digest`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Feature = dict[str, Any]


def _value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: Feature) -> Feature:
    return {"feature": feature, "_type": "List"}


_TEXT: Final = _value("string")
_INT: Final = _value("int32")
_FLOAT: Final = _value("float64")
_FLAG: Final = _value("bool")
_PART: Final = {"type": _TEXT, "text": _TEXT}
_FRAME: Final = {"turn": _INT, "index": _INT, "name": _TEXT, "role": _TEXT, "max_pixels": _INT, "digest": _TEXT}

FEATURES: Final[dict[str, Feature]] = {
    "id": _TEXT,
    "source": _TEXT,
    "split": _TEXT,
    "video": _TEXT,
    "exp_id": _TEXT,
    "expression": _TEXT,
    "kind": _TEXT,
    "object_ids": _list(_TEXT),
    "anno_ids": _list(_TEXT),
    "num_frames": _INT,
    "width": _INT,
    "height": _INT,
    "difficulty": _FLOAT,
    "turns": _INT,
    "actions": _list(_TEXT),
    "selections": _list({"start": _INT, "end": _INT, "keyframe": _INT}),
    "messages": _list({"role": _TEXT, "content": _list(_PART)}),
    "frames": _list(_FRAME),  # one per image placeholder of `messages`, in order
    "images": _list({"_type": "Image"}),
    "decoded_frames": _list(_INT),  # one per turn: the frame its [SEG] is decoded on
    "decoded_masks": _list(_TEXT),  # one per turn; null where the target is not seen
    "track": _list(_TEXT),  # one per frame of the video; null where the target is not seen
    "mask_height": _INT,
    "mask_width": _INT,
    "masks_digest": _TEXT,  # of the target's masks, also where these stay at home; null without target
    "keyframe_iou": _FLOAT,
    "ceiling": _FLOAT,
    "ious": _list(_FLOAT),  # one per turn; null where nothing was grounded
    "ceilings": _list(_FLOAT),
    "window_iou": _FLOAT,  # mean along the answer's window; null where the segmenter cannot follow
    "window_ceiling": _FLOAT,
    "kept": _FLAG,
    "reason": _TEXT,
    "checks": _TEXT,  # JSON: list of {name, passed, detail, value, threshold}
    "plan": _TEXT,  # JSON: the mined plan and its facts
    "licence": _TEXT,
    "redistributable": _FLAG,
    "vtscot": _TEXT,
    "teacher": _TEXT,
    "grounder": _TEXT,
    "segmenter": _TEXT,
    "recipe": _TEXT,
    "prompts": _TEXT,
    "seed": _value("int64"),
}

AT_HOME: Final = ("images", "decoded_masks", "track", "mask_height", "mask_width")
"""Columns that are null in rows of a source whose licence does not allow redistribution."""


def _arrow_type(feature: Feature) -> pa.DataType:
    import pyarrow as pa

    kind = feature.get("_type")
    if kind == "Value":
        return {
            "string": pa.string(),
            "int32": pa.int32(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "bool": pa.bool_(),
        }[feature["dtype"]]
    if kind == "Image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if kind == "List":
        return pa.list_(_arrow_type(feature["feature"]))
    return pa.struct([(name, _arrow_type(child)) for name, child in feature.items()])


def arrow_schema() -> pa.Schema:
    """The Arrow schema, with the features as metadata so that `datasets` decodes the images."""
    import pyarrow as pa

    fields = [(name, _arrow_type(feature)) for name, feature in FEATURES.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return pa.schema(fields, metadata=metadata)


def check_columns(schema: pa.Schema, names: Iterable[str], where: Path) -> None:
    """DataError for the first of `names` that a file's schema lacks, or has with another type."""
    expected = arrow_schema()
    for name in names:
        if name not in schema.names:
            raise DataError(f"{where} has no column {name!r}: it is no dataset of this vtscot")
        found, right = schema.field(name).type, expected.field(name).type
        if not found.equals(right):
            raise DataError(f"{where}: column {name!r} is {found}, not {right}: it is no dataset of this vtscot")
