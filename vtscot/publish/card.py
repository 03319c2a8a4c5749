"""The dataset card: `README.md` with its YAML metadata, and `LICENSE.md`, from the figures and the settings.

Texts from data (expressions, reasons, names) are escaped: inside the example they stand in a fence that none of
their lines can close, elsewhere every character that Markdown or HTML reads is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from vtscot.episode import dialogue
from vtscot.publish.context import PublishContext
from vtscot.publish.figures import Figures
from vtscot.records import Record

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from vtscot.sources.base import Licence

REJECTED: Final = "rejected"
SECTIONS: Final = ("budget", "mining", "seed", "teacher", "verify")
"""The parts of a recipe that say how episodes were made; the rest says where and how fast."""
PRIVATE: Final = frozenset({"root", "base_url", "path", "checkpoint", "device", "api_key", "key"})
HUB_LICENCES: Final = re.compile(r"cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0|apache-2\.0|mit|pddl|odc-by")
SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Shards:
    """The files of one split of one config: paths relative to the dataset, rows and bytes."""

    config: str
    split: str
    files: tuple[str, ...]
    rows: int
    bytes: int

    @property
    def pattern(self) -> str:
        """Names exactly these shards: the total is part of the name, so shards of another cut never match."""
        return f"{self.config}/{self.split}-*-of-{len(self.files):05d}.parquet"


def front_matter(shards: Sequence[Shards], licences: Mapping[str, Licence], title: str) -> dict[str, Any]:
    """The metadata that the Hub and `datasets` read; the first config is the default one."""
    rows = sum(part.rows for part in shards if part.config != REJECTED)
    return {
        "pretty_name": title,
        **_licence_fields(licences),
        "language": ["en"],
        "task_categories": ["image-segmentation", "video-text-to-text"],
        "tags": ["video-object-segmentation", "referring-expressions", "chain-of-thought", "multi-turn", "vtscot"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>1M")],
        "configs": _configs(shards),
        "dataset_info": _info(shards),
    }


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


def _info(shards: Sequence[Shards]) -> list[dict[str, Any]]:
    return [
        {
            "config_name": name,
            "splits": [
                {"name": part.split, "num_bytes": part.bytes, "num_examples": part.rows}
                for part in shards
                if part.config == name
            ],
        }
        for name in dict.fromkeys(part.config for part in shards)
    ]


def _licence_fields(licences: Mapping[str, Licence]) -> dict[str, str]:
    ids = sorted({licence.id.lower() for licence in licences.values()})
    if len(ids) == 1 and HUB_LICENCES.fullmatch(ids[0]):
        return {"license": ids[0]}
    return {"license": "other", "license_name": "-and-".join(ids) or "see-license", "license_link": "LICENSE.md"}


def plain_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings that say how episodes were made, as dotted keys; places of this machine are left out."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{name}": inner for name, inner in _flat(value).items()})
        else:
            flat[key] = value
    return {
        key: value
        for key, value in sorted(flat.items())
        if key.split(".")[0] in SECTIONS and key.split(".")[-1] not in PRIVATE
    }


def _flat(tree: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{name}": inner for name, inner in _flat(value).items()})
        else:
            flat[key] = value
    return flat


def escape(value: object) -> str:
    """`value` on one line, with everything escaped that Markdown or HTML would read as markup.

    >>> escape("a *b* <c>")
    'a \\\\*b\\\\* &lt;c&gt;'
    """
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#|~$@])", r"\\\1", text)
    return re.sub(r"^(\d*)([-+=.)](?=\s|$))", r"\1\\\2", text)  # no list, no heading


def fence(text: str) -> str:
    """`text` as a code block whose fence is longer than any run of back ticks in it."""
    ticks = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, ticks + 1)
    return f"{mark}text\n{text}\n{mark}"


def example_text(record: Record) -> str:
    """The dialogue of a record as a reader sees it: one paragraph per message, images as `<image>`."""
    lines = []
    for message in dialogue(record.episode)[1:]:
        parts = "".join("<image> " if part.type == "image" else part.text or "" for part in message.content)
        lines.append(f"[{message.role}]\n{parts.strip()}")
    return "\n\n".join(lines)


def pick_example(records: Sequence[Record]) -> Record | None:
    """The kept record to show: one of several turns if there is any, of those the one with the best keyframe IoU."""

    def rank(record: Record) -> tuple[bool, float, str]:
        return len(record.episode.turns) < 2, -(record.verdict.keyframe_iou or 0.0), record.query.id

    return min((record for record in records if record.verdict.kept), key=rank, default=None)


def render_card(
    shards: Sequence[Shards], numbers: Figures, context: PublishContext, example: Record | None, title: str = "VTS-CoT"
) -> str:
    """The text of `README.md`."""
    import yaml

    metadata = yaml.safe_dump(
        front_matter(shards, context.licences, title), sort_keys=False, allow_unicode=True, width=1000
    )
    text = (
        _environment()
        .get_template("card.md.j2")
        .render(
            metadata=metadata.strip(),
            title=title,
            shards=shards,
            figures=numbers,
            licences=dict(sorted(context.licences.items())),
            settings=plain_settings(context.settings),
            version=context.version,
            prompts=context.prompts,
            teacher=context.teacher,
            example=example,
            example_text=example_text(example) if example else "",
            loaded=list(dict.fromkeys(part.config for part in shards)),
        )
    )
    return text.strip() + "\n"


def render_licences(licences: Mapping[str, Licence]) -> str:
    """The text of `LICENSE.md`: which licence holds for which config."""
    return _environment().get_template("licence.md.j2").render(licences=dict(sorted(licences.items()))).strip() + "\n"


def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import FunctionLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    root = files("vtscot.publish").joinpath("templates")
    environment = ImmutableSandboxedEnvironment(
        loader=FunctionLoader(lambda name: root.joinpath(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown: every value from data goes through `md` or `fence`
    )
    environment.filters["md"] = escape
    environment.filters["fence"] = fence
    return environment
