"""The documents: links lead somewhere, figures are those of the files, and one thing has one name."""

import json
import re
import subprocess
from pathlib import Path

import case_errors
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([\w-]+))?\)")
OTHER_NAMES = (
    "chance of error", "chance that the label", "made heart", "eight sides", "eight views", "not met", "doubt",
    " draws", "the reader", "person", "most uncertain", "uncertain slice", "uncertain spot",
)  # fmt: skip
"""What the glossary in CONTRIBUTING gives another name."""
REFUSED_IN_SOURCES = {
    "draws": "samples",
    "views": "orientations", "sides": "orientations, subsets", "look from": "orientations",
    "first look": "first pass", "close look": "close pass",
    "doubt": "error probability", "doubts": "error probability", "doubted": "error probability",
    "doubtful": "error probability", "chance of error": "error probability", "chance that": "error probability",
    "judge": "assess", "judges": "assess", "judged": "assessed", "not met": "unseen, not seen", "held out": "unseen",
    "chose": "selected", "team": "threads", "pace": "speed", "person": "user, reviewer", "a reader": "reviewer",
    "made heart": "phantom", "made picture": "synthetic image", "made image": "synthetic image",
}  # fmt: skip
"""Word in csam's identifiers, comments, docstrings and messages → the glossary's."""
ALLOWED_IN_SOURCES = {
    ("views", "process/protocol.py"): "memoryviews of a buffer",
    ("sides", "uncertainty/continuity.py"): "before and behind a slice",
    ("sides", "uncertainty/slice_ranking.py"): "left and right of an image",
}


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("Resources/**/*.md"), *ROOT.glob("Testing/**/*.md")]


def anchor_of(line: str) -> str:
    """GitHub's anchor for a heading."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            anchors = {anchor_of(line) for line in there.read_text(encoding="utf-8").splitlines() if line[:1] == "#"}
            assert anchor in anchors, f"{page.name}: {there.name} has no heading #{anchor}"


def test_every_command_of_the_measurements_names_a_script_and_files_that_are_there():
    text = (ROOT / "Resources" / "docs" / "measurements.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:Testing|Resources)/[\w./-]+\.(?:py|json)", text))
    assert any(name.endswith("compare.py") for name in named)
    for name in named - {"Resources/Benchmarks/README.md"}:
        assert (ROOT / name).is_file(), f"measurements.md names {name}, which is not there"


def test_every_kept_figure_file_stands_in_a_page():
    texts = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("Resources/docs/*.md"))
    for path in (ROOT / "Resources" / "Benchmarks").iterdir():
        assert path.name in texts, f"{path.name} is in no page of Resources/docs: name its question, or remove it"


def test_the_figures_of_the_readme_are_those_of_the_shipped_model():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "Resources" / "Benchmarks" / "cardiac-lv.json").read_text(encoding="utf-8"))
    after, cases = found["after_calibration"], found["cases"]
    both = case_errors.pairs(cases)
    fractions = [[case_errors.ejection_fraction(*pair, kind) for pair in both] for kind in ("volume_ml", "truth_ml")]
    ejection = case_errors.errors(*fractions)
    dice = case_errors.errors(*zip(*((c["case_quality"], np.mean(c["dice"])) for c in cases.values()), strict=True))
    bias = f"{ejection['bias']:.1f}".replace("-", "−")
    for words in (
        f"{after['cases']} scans of {after['patients']} patients",
        f"| {after['dice_mean']:.3f} ({after['dice_lowest']:.3f}) |",
        f"| {ejection['mean']:.1f} ({bias}) | {ejection['chance']:.1f} by chance |",
        f"| {dice['mean']:.3f} | {dice['chance']:.3f} by chance |",
        f"| {after['case_quality_spearman']:.2f} | 0 by chance |",
        f"| {after['roi_calibration_error']:.3f} | 0 is best |",
        f"| {after['voxel_error_auroc']:.3f} | 0.5 by chance |",
        f"| {after['worst_slice_in_first_three']:.2f} |",
        f"| {100 * after['interval_coverage']:.0f} %; {100 * after['interval_relative_width']:.0f} % of the volume |",
    ):
        assert words in readme, f"README.md does not say: {words}"


def test_measurements_and_their_files_use_the_same_words():
    """Only those that mean nothing else in code and figures."""
    for path in (*ROOT.glob("Testing/bench/*.py"), *ROOT.glob("Resources/Benchmarks/*.json")):
        text = path.read_text(encoding="utf-8").lower()
        for other in ("doubt", "judge", "chance of error", "made heart", "not met"):
            assert other not in text, f'{path.name} says "{other}": use {REFUSED_IN_SOURCES[other]}'


@pytest.mark.parametrize(
    "name",
    ["README.md", "CHANGELOG.md", "CSAMSegment/Resources/UI/CSAMSegment.ui", "CSAMSegment/CSAMSegment.py",
     "CSAMSegment/CSAMSegmentLib/**/*.py", "CSAMSegment/Resources/Models/cardiac-lv/MODEL_CARD.md",
     "Resources/docs/*.md", "Testing/slicer/*"],
)  # fmt: skip
def test_one_thing_has_one_name(name):
    """The words that the glossary replaces are in no text that a user meets, and in no source of the Slicer side."""
    paths = [path for path in ROOT.glob(name) if path.is_file()]
    assert paths
    for path in paths:
        text = " ".join(path.read_text(encoding="utf-8").lower().split())
        for other in OTHER_NAMES:
            assert other not in text, f"{path.name} says “{other.strip()}”; see the glossary in CONTRIBUTING.md"


def words_of(source: str) -> str:
    """Lower-case words between spaces, those of identifiers among them: num_views and StackOrientation are two each."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", source)
    return f" {' '.join(re.findall(r'[a-z0-9]+', apart.lower()))} "


def test_the_sources_of_the_engine_use_the_words_of_the_glossary():
    package, found, needed = ROOT / "CSAMSegment" / "csam", [], set()
    for path in sorted(package.rglob("*.py")):
        name, words = path.relative_to(package).as_posix(), words_of(path.read_text(encoding="utf-8"))
        for refused, wanted in REFUSED_IN_SOURCES.items():
            if f" {refused} " in words and (refused, name) in ALLOWED_IN_SOURCES:
                needed.add((refused, name))
            elif f" {refused} " in words:
                found.append(f"{name} says “{refused}”; say {wanted}")
    assert not found, "See the glossary in CONTRIBUTING.md:\n" + "\n".join(found)
    assert needed == ALLOWED_IN_SOURCES.keys(), "Remove the exceptions that no file needs any more"


@pytest.mark.parametrize("source", ["num_views = 1", "class SomeViews:", "# of all views,", "VIEWS_OF = ()"])
def test_a_refused_word_is_found_in_every_kind_of_name(source):
    assert " views " in words_of(source)


def test_the_readme_fits_on_a_few_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_the_changelog_has_the_version_and_what_comes_next():
    import csam

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## [Unreleased]") < text.index(f"## [{csam.__version__}]")


def test_pre_commit_runs_the_ruff_that_development_pins():
    pinned = re.search(r"^ruff==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE).group(1)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.search(rf"ruff-pre-commit\n\s+rev: v{re.escape(pinned)}\n", hooks), f"Set ruff's rev to v{pinned}"


def test_no_path_is_longer_than_windows_and_archives_take():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    long = [name for name in listed.stdout.splitlines() if len(name) > 100]
    assert long == [], "Give these files shorter paths: at most 100 characters below the repository"


def test_what_the_architecture_names_is_there():
    """Each answer to "where does one change" is a file that can be found from its name."""
    if not (ROOT / "CSAMSegment" / "csam" / "pipeline").is_dir():
        pytest.skip("the sub-packages are not there yet")
    text = (ROOT / "Resources" / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {"csam": "CSAMSegment", "logic": "CSAMSegment/CSAMSegmentLib", "CSAMSegmentLib": "CSAMSegment"}
    for name in re.findall(r"`((?:csam|logic|CSAMSegmentLib)/[\w/]+(?:\.py)?)`", text):
        path = ROOT / folders[name.split("/")[0]] / name
        assert path.exists(), f"architecture.md names {name}, which is not there"
