"""The dataset card: `README.md` with its YAML metadata and its pictures, and `LICENSE.md`.

Numbers come from the figures, settings from the recipes; nothing is typed. Texts from data (expressions, thoughts,
reasons, names) are escaped: the dialogue of the example stands in a fence that none of its lines can close, elsewhere
every character that Markdown or HTML reads is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from vtscot.publish.context import PublishContext
from vtscot.publish.example import Example, draw_example
from vtscot.publish.figures import Figures
from vtscot.publish.metadata import REJECTED, Shards, front_matter
from vtscot.publish.plots import bars, columns
from vtscot.publish.timeline import draw_timeline

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from vtscot.sources.base import Licence

__all__ = ["REJECTED", "About", "Shards", "card_files", "escape", "fence", "plain_settings", "render_card"]

SECTIONS: Final = ("budget", "mining", "seed", "teacher", "verify")
"""The parts of a recipe that say how episodes were made; the rest says where and how fast."""
PRIVATE: Final = frozenset({"root", "base_url", "path", "checkpoint", "device", "api_key", "key"})
TITLE: Final = "VTS-CoT"
PICTURE, TIMELINE = "assets/example.jpg", "assets/timeline.svg"
TURNS, WINDOWS, IOU, REASONS = (f"assets/{name}.svg" for name in ("turns", "windows", "keyframe-iou", "rejections"))


@dataclass(frozen=True)
class About:
    """What a card says besides the numbers: licences by source, settings by the digest of the recipe, what made it."""

    licences: Mapping[str, Licence]
    recipes: Mapping[str, Mapping[str, object]]
    versions: tuple[str, ...]
    prompts: tuple[str, ...]
    teacher: str

    @classmethod
    def of(cls, context: PublishContext, numbers: Figures) -> About:
        """Of a run that is published."""
        settings = plain_settings(context.settings)
        digests = ", ".join(numbers.recipes) or "none"
        recipes = {digests: settings} if settings else {}
        return cls(context.licences, recipes, (context.version,), (context.prompts,), context.teacher)


def plain_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings that say how episodes were made, as dotted keys; places of this machine are left out."""
    return {
        key: value
        for key, value in sorted(_flat(settings).items())
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
    """`value` on one line, with everything escaped that Markdown or HTML would read as markup or as a link.

    >>> escape("a *b* <c>")
    'a \\\\*b\\\\* &lt;c&gt;'
    """
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#|~$@!^])", r"\\\1", text)
    text = re.sub(r"(?i)\b(https?|ftp|www|mailto|xmpp)([:.])", lambda m: f"{m[1]}&#{ord(m[2])};", text)
    return re.sub(r"^(\d*)([-+=.)](?=\s|$))", r"\1\\\2", text)  # no list, no heading


def fence(text: str) -> str:
    """`text` as a code block whose fence is longer than any run of back ticks in it."""
    ticks = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, ticks + 1)
    return f"{mark}text\n{text}\n{mark}"


def card_files(shards: Sequence[Shards], numbers: Figures, about: About, example: Example | None) -> dict[str, bytes]:
    """Card, licences and pictures: path relative to the dataset -> content."""
    pictures = draw_figures(numbers) if shards else {}
    if example is not None:
        pictures[TIMELINE] = draw_timeline(example.episode, example.plan).encode()
        if (picture := draw_example(example)) is not None:
            pictures[PICTURE] = picture
    return {
        "README.md": render_card(shards, numbers, about, example).encode(),
        "LICENSE.md": render_licences(about.licences).encode(),
        **pictures,
    }


def draw_figures(numbers: Figures) -> dict[str, bytes]:
    """The plots of the card: path -> SVG."""
    kept, rejected = numbers.states["kept"], numbers.states["rejected"]
    share = "" if numbers.window_share is None else f"; on average {100 * numbers.window_share:.0f}% of the video"
    mean = "nothing was graded" if numbers.keyframe_iou is None else f"mean {numbers.keyframe_iou:.3f}"
    ceiling = "" if numbers.ceiling is None else f"; the segmenter's ceiling is {numbers.ceiling:.3f}"
    tenths = {f".{i}" if i else "0": count for i, count in enumerate(numbers.histogram)}
    turns = {f"{n} turn{'' if n == 1 else 's'}": count for n, count in numbers.turns.items()}
    drawn = {
        TURNS: columns("Turns", f"of {kept:,} kept episodes", turns),
        WINDOWS: columns("Length of the answer's window", f"in frames{share}", numbers.windows),
        IOU: columns("IoU on the keyframe", mean + ceiling, tenths),
        REASONS: bars(
            "Rejections by reason",
            f"{rejected:,} of {numbers.traced:,} traced episodes",
            numbers.reasons["rejected"],
            ("leak rate: tells what it was not shown", numbers.leak_rate),
        ),
    }
    return {name: svg.encode() for name, svg in drawn.items()}


def render_card(
    shards: Sequence[Shards], numbers: Figures, about: About, example: Example | None, title: str = TITLE
) -> str:
    """The text of `README.md`."""
    import yaml

    metadata = front_matter(shards, about.licences, title, about.recipes)
    text = (
        _environment()
        .get_template("card.md.j2")
        .render(
            metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000).strip(),
            title=title,
            shards=shards,
            configs=list(dict.fromkeys(part.config for part in shards)),
            figures=numbers,
            about=about,
            licences=dict(sorted(about.licences.items())),
            at_home=[name for name, licence in sorted(about.licences.items()) if not licence.redistributable],
            example=example,
            parts=("temporal", "spatial", "linguistic", "action"),
            files={"picture": PICTURE, "timeline": TIMELINE, "plots": (TURNS, WINDOWS, IOU, REASONS)},
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
