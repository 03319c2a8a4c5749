"""Files appear whole, and names from data never leave their root."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtscot.files import inside, whole_file, write_text


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), whole_file(path) as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["card.md"]


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


@pytest.mark.parametrize("name", ["blackswan", "UVO/all/-fbscFfkh4M", "vidéo", "a..b", "..."])
def test_ordinary_names_stay_inside(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name, "00000.jpg") == tmp_path / name / "00000.jpg"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc", "\\\\server", "a\0b", "", "C:\\x", "..\\x"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name inside"):
        inside(tmp_path, name)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "video").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out"):
        inside(root, "video", "secret.txt")
