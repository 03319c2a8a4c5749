"""Jinja templates of teacher, verifier and policy, rendered in a sandbox.

Every template may be rendered with data from outside (expressions, teacher answers), so it gets values only, no code.
"""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_ROOT = files(__name__)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import FunctionLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        loader=FunctionLoader(lambda name: _ROOT.joinpath(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # plain text for models, never HTML
    )


def render_prompt(name: str, **values: object) -> str:
    """Render the template `name` (for example `policy/system.j2`) without leading or trailing white space."""
    return _environment().get_template(name).render(**values).strip()


@functools.cache
def prompts_digest() -> str:
    """Digest of all templates: part of a record's provenance."""
    digest = hashlib.sha256()
    for folder in sorted(p.name for p in _ROOT.iterdir() if p.is_dir() and not p.name.startswith("_")):
        for template in sorted((p for p in _ROOT.joinpath(folder).iterdir() if p.name.endswith(".j2")), key=str):
            digest.update(f"{folder}/{template.name}\0".encode() + template.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
