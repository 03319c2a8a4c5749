"""JSON Schemas of what vtscot writes and reads: `python -m vtscot.schema` generates `schemas/*.json`.

python -m vtscot.schema [DIR]           write them (default: the folder of the package)
python -m vtscot.schema --check [DIR]   exit 1, naming the files that differ from the models
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel

from vtscot.files import write_text
from vtscot.recipe import Recipe
from vtscot.records import Episode, Outcome, Plan, Record, Verdict
from vtscot.teacher.passes import PASSES
from vtscot.verify.judge import EntailAnswer
from vtscot.verify.openai import GroundAnswer


def models() -> Mapping[str, type[BaseModel]]:
    """The models that have a schema, by the name of its file."""
    named: dict[str, type[BaseModel]] = {
        "episode": Episode,
        "outcome": Outcome,
        "plan": Plan,
        "recipe": Recipe,
        "record": Record,
        "verdict": Verdict,
    }
    return (
        named
        | {f"answer-{each.name}": each.answer for each in PASSES}
        | {"answer-ground": GroundAnswer, "answer-entail": EntailAnswer}
    )


def schema_text(model: type[BaseModel]) -> str:
    """The schema of one model as stable JSON text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def stale(directory: Path) -> list[str]:
    """Names of files in `directory` that are missing, left over or differ from the models."""
    wanted = {f"{name}.json": schema_text(model) for name, model in models().items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(directory: Path) -> list[Path]:
    """Write all schemas and remove those that no model has any more."""
    paths = []
    for name, model in models().items():
        paths.append(directory / f"{name}.json")
        write_text(paths[-1], schema_text(model))
    for left_over in set(directory.glob("*.json")) - set(paths):
        left_over.unlink()
    return paths


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    check = "--check" in arguments
    places = [Path(argument) for argument in arguments if argument != "--check"]
    directory = places[0] if places else Path(str(files("vtscot.schemas")))
    names = stale(directory) if check else [path.name for path in write(directory)]
    for name in names:
        print(f"{'differs from the models: ' if check else 'wrote '}{name}")  # noqa: T201
    return 1 if check and names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
