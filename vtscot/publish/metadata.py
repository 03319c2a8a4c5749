"""The metadata at the top of a card: what the Hub, `datasets` and later commands of vtscot read of a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.publish.digests import DIGESTS, digest_files

if TYPE_CHECKING:
    from vtscot.sources.base import Licence

REJECTED: Final = "rejected"
HUB_LICENCES: Final = re.compile(r"cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0|apache-2\.0|mit|pddl|odc-by")
SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
RECIPES: Final = "vtscot_recipes"
"""Key of the settings that the rows were made with, by digest of the recipe: they outlive merging and splitting."""


@dataclass(frozen=True)
class Shards:
    """The files of one split of one config: paths relative to the dataset, rows, bytes and digest."""

    config: str
    split: str
    files: tuple[str, ...]
    rows: int
    bytes: int
    digest: str = ""

    @classmethod
    def of(cls, directory: Path, config: str, split: str, paths: Sequence[Path], rows: int) -> Shards:
        """The shards at `paths`, as they were just written into the dataset at `directory`."""
        names = tuple(path.relative_to(directory).as_posix() for path in paths)
        return cls(config, split, names, rows, sum(path.stat().st_size for path in paths), digest_files(paths))

    @property
    def pattern(self) -> str:
        """Names exactly these shards: the total is part of the name, so shards of another cut never match."""
        return f"{self.config}/{self.split}-*-of-{len(self.files):05d}.parquet"


def front_matter(
    shards: Sequence[Shards],
    licences: Mapping[str, Licence],
    title: str,
    recipes: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, Any]:
    """The metadata that the Hub and `datasets` read; the first config is the default one."""
    rows = sum(part.rows for part in shards if part.config != REJECTED)
    return {
        "pretty_name": title,
        **licence_fields(licences),
        "language": ["en"],
        "task_categories": ["image-segmentation", "video-text-to-text"],
        "tags": ["video-object-segmentation", "referring-expressions", "chain-of-thought", "multi-turn", "vtscot"],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original" if name == "demo" else f"extended|other-{name}" for name in sorted(licences)],
        "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>1M")],
        "configs": _configs(shards),
        "dataset_info": _info(shards, licences),
        **({DIGESTS: digests} if (digests := {f"{s.config}/{s.split}": s.digest for s in shards if s.digest}) else {}),
        **({RECIPES: {digest: dict(settings) for digest, settings in recipes.items()}} if recipes else {}),
    }


def read_metadata(readme: Path) -> dict[str, Any]:
    """The metadata of a card as it stands there, {} where there is none that parses; nothing in it is checked."""
    import yaml

    try:
        match = re.match(r"---\n(.*?)\n---\n", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        value = yaml.safe_load(match[1]) if match else None
    except (OSError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def read_recipes(metadata: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """The settings by recipe that a card states; whatever has another form is left out."""
    found = metadata.get(RECIPES)
    return {
        str(digest): {str(key): value for key, value in settings.items()}
        for digest, settings in (found.items() if isinstance(found, dict) else ())
        if isinstance(settings, dict)
    }


def stated_rows(metadata: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """(config, split) -> rows that the card states."""
    return {
        (str(info.get("config_name")), str(split.get("name"))): split["num_examples"]
        for info in _dicts(metadata.get("dataset_info"))
        for split in _dicts(info.get("splits"))
        if isinstance(split.get("num_examples"), int)
    }


def licence_fields(licences: Mapping[str, Licence]) -> dict[str, str]:
    """The licence of the whole, as the Hub has it at the top of a card."""
    ids = sorted({licence.id.lower() for licence in licences.values()})
    if len(ids) == 1 and HUB_LICENCES.fullmatch(ids[0]):
        return {"license": ids[0]}
    name = re.sub(r"[^a-z0-9.-]+", "-", "-and-".join(ids)).strip("-")
    return {"license": "other", "license_name": name or "see-license", "license_link": "LICENSE.md"}


def _configs(shards: Sequence[Shards]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(part.config for part in shards))
    return [
        {
            "config_name": name,
            **({"default": True} if name == names[0] else {}),
            "data_files": [{"split": part.split, "path": part.pattern} for part in shards if part.config == name],
        }
        for name in names
    ]


def _info(shards: Sequence[Shards], licences: Mapping[str, Licence]) -> list[dict[str, Any]]:
    every = " and ".join(sorted({licence.id for licence in licences.values()}))
    return [
        {
            "config_name": name,
            "license": licences[name].id if name in licences else every,
            "splits": [
                {"name": part.split, "num_bytes": part.bytes, "num_examples": part.rows}
                for part in shards
                if part.config == name
            ],
        }
        for name in dict.fromkeys(part.config for part in shards)
    ]


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
