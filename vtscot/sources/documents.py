"""Small JSON documents (expressions, meta files): read whole, duplicate keys kept apart instead of dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from vtscot.errors import DataError


class JsonObject(dict[str, Any]):
    """A JSON object; where a key came more than once the first value stands and the others are in `repeated`."""

    repeated: tuple[tuple[str, Any], ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = JsonObject()
    repeated = []
    for key, value in pairs:
        if key in found:
            repeated.append((key, value))
        else:
            found[key] = value
    found.repeated = tuple(repeated)
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def load_object(path: Path) -> JsonObject:
    """The JSON object in `path`; DataError where the file is missing, truncated, not JSON or not an object."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except json.JSONDecodeError as error:
        where = len(text[: error.pos].encode())
        raise DataError(f"{path}: not JSON at byte {where} ({error.msg}); is the download complete?") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; is the download complete?") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not usable JSON ({error})") from None
    if not isinstance(value, JsonObject):
        raise DataError(f"{path}: a JSON object is needed at the top, not {type(value).__name__}")
    return value
