"""The checks that Slicer's Extensions Index runs on an entry and its repository, as far as they need no network.

The Index clones the repository and runs scripts/check_description_files.py of Slicer/ExtensionsIndex: the entry against
its JSON schema, category, repository name, address, top-level CMakeLists.txt with icon and screenshots, licence. The
rules are those of November 2025.
"""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "Resources" / "CSAMSegment.json"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
REQUIRED = {"$schema", "category", "scm_url"}
TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""The properties of schema 1.0.2; no other is allowed."""


def faults_of(entry: dict) -> list[str]:
    """What the schema and the Index's own rules find wrong with an entry."""
    found = [f"{name} is missing" for name in REQUIRED - entry.keys()]
    found += [f"{name} is not known" for name in entry.keys() - TYPES.keys()]
    found += [f"{n} is no {TYPES[n].__name__}" for n, v in entry.items() if n in TYPES and type(v) is not TYPES[n]]
    if entry.get("$schema") != SCHEMA:
        found.append("the schema is not 1.0.2")
    if not 1 <= entry.get("tier", 1) <= 5:
        found.append("tier is not 1 to 5")
    if not all(isinstance(name, str) and name for name in entry.get("build_dependencies", [])):
        found.append("a dependency is no name")
    address = urlsplit(entry.get("scm_url", ""))
    if address.scheme not in ("git", "https"):
        found.append("scm_url begins with neither git:// nor https://")
    if "slicer" not in Path(address.path).stem.lower():
        found.append("the repository's name has no Slicer in it")
    if entry.get("category") not in ("Segmentation", "Cardiac"):  # of the Index's list, those that could be ours
        found.append("the category is not one of the Index's")
    return found


def first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.IGNORECASE)
    assert match, f"CMakeLists.txt has nothing that the Index's check finds with {pattern}"
    return match.group(1)


def test_the_entry_passes_the_rules_of_the_index():
    assert faults_of(json.loads(ENTRY.read_text())) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"homepage": "https://example.org"}, "homepage is not known"),
        ({"tier": 6}, "tier is not 1 to 5"),
        ({"tier": "1"}, "tier is no int"),
        ({"category": "Hearts"}, "the category is not one of the Index's"),
        ({"scm_url": "https://example.org/CSAMSegment"}, "the repository's name has no Slicer in it"),
        ({"scm_url": "http://example.org/SlicerCSAMSegment"}, "scm_url begins with neither git:// nor https://"),
        ({"$schema": SCHEMA.replace("1.0.2", "1.0.1")}, "the schema is not 1.0.2"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_found(change, fault):
    entry = json.loads(ENTRY.read_text()) | change
    if isinstance(entry["tier"], int):
        assert faults_of(entry) == [fault]
    else:
        with pytest.raises(TypeError):
            faults_of(entry)


def test_cmake_names_the_project_as_the_entry_with_an_icon_and_screenshots_that_are_pictures():
    """The Index reads CMakeLists.txt with these expressions, not with CMake."""
    text = (ROOT / "CMakeLists.txt").read_text()
    assert first(r"project\s*\(\s*([^\s\)\n\r]+)", text) == ENTRY.stem
    entry = json.loads(ENTRY.read_text())
    prefix = f"{entry['scm_url']}/raw/{entry['scm_revision']}/"
    pictures = [first(r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)', text)]
    pictures += first(r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', text).split()
    assert len(pictures) >= 2
    for address in pictures:
        assert address.startswith(prefix)
        path = ROOT / address.removeprefix(prefix)
        assert path.suffix == ".png"
        assert path.read_bytes().startswith(b"\x89PNG"), f"{path} is no PNG file"


def test_there_is_a_licence_file_with_the_name_that_the_index_looks_for():
    assert "MIT License" in (ROOT / "LICENSE.txt").read_text()


def test_the_readme_begins_with_a_picture_and_names_the_systems():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.index("![") < readme.index("\n## ")
    for system in ("Windows", "macOS", "Linux"):
        assert system in readme
