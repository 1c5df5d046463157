"""What Slicer's build system asks of the repository; what the Extensions Index asks is in test_extensions_index.py."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "CSAMSegment"
NOT_INSTALLED = {"CMakeLists.txt"}

STUB = """
macro(project name)
  set(PROJECT_NAME ${name})
endmacro()
macro(find_package name)
  set(Slicer_VERSION @version@)
  set(Slicer_USE_FILE @nothing@)
  set(Slicer_EXTENSION_GENERATE_CONFIG @nothing@)
  set(Slicer_EXTENSION_CPACK @nothing@)
endmacro()
macro(add_subdirectory folder)
  set(CMAKE_CURRENT_SOURCE_DIR @root@/${folder})
  include(@root@/${folder}/CMakeLists.txt)
  set(CMAKE_CURRENT_SOURCE_DIR @root@)
endmacro()
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  message("NAME=${MODULE_NAME}")
  message("SCRIPTS=${MODULE_SCRIPTS}")
  message("RESOURCES=${MODULE_RESOURCES}")
endfunction()
function(slicer_add_python_unittest)
  message("UNITTEST=${CMAKE_CURRENT_SOURCE_DIR}/${ARGV1}")
endfunction()
set(BUILD_TESTING ON)
include(@root@/CMakeLists.txt)
message("PROJECT=${PROJECT_NAME}")
foreach(name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  message("${name}=${EXTENSION_${name}}")
endforeach()
"""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict[str, str]:
    """What the CMakeLists say, by CMake's own evaluation with Slicer's macros stubbed; by reading without CMake."""
    if not shutil.which("cmake"):
        return read_without_cmake()
    done = run_cmake(tmp_path_factory.mktemp("cmake"), "5.10")
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stderr.splitlines() if "=" in line)


def run_cmake(folder: Path, slicer_version: str) -> subprocess.CompletedProcess:
    (folder / "nothing.cmake").write_text("")
    values = {"root": ROOT, "nothing": folder / "nothing.cmake", "version": Path(slicer_version)}
    text = STUB
    for name, value in values.items():
        text = text.replace(f"@{name}@", value.as_posix())
    script = folder / "stub.cmake"
    script.write_text(text)
    return subprocess.run(["cmake", "-P", script], capture_output=True, text=True)


def read_without_cmake() -> dict[str, str]:
    top = (ROOT / "CMakeLists.txt").read_text()
    module = (MODULE / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", "CSAMSegment")
    found = dict(re.findall(r'set\(EXTENSION_(\w+) "?([^"\n]+?)"?\)\n', top))
    found["PROJECT"] = re.search(r"project\((\w+)\)", top).group(1)
    found["NAME"] = re.search(r"set\(MODULE_NAME (\w+)\)", module).group(1)
    for name in ("SCRIPTS", "RESOURCES"):
        found[name] = ";".join(re.search(rf"set\(MODULE_PYTHON_{name}\s([^)]*)\)", module).group(1).split())
    found["UNITTEST"] = (
        MODULE / re.search(r"slicer_add_python_unittest\(SCRIPT ([\w.]+)\)", module).group(1)
    ).as_posix()
    return found


def compare(listed: str, there: set[str], variable: str):
    """Equal both ways, sorted, and if not: which line to add or to remove."""
    names = listed.split(";")
    missing, surplus = sorted(there - set(names)), sorted(set(names) - there)
    advice = [f"add the line    {name}" for name in missing] + [f"remove the line {name}" for name in surplus]
    assert not advice, f"In set({variable} ...) of CSAMSegment/CMakeLists.txt\n" + "\n".join(advice)
    assert names == sorted(names), f"Sort {variable} in CSAMSegment/CMakeLists.txt"
    assert len(names) == len(set(names)), f"A name stands twice in {variable}"


def files_of_the_module() -> set[str]:
    found = {path.relative_to(MODULE) for path in MODULE.rglob("*") if path.is_file()}
    return {
        path.as_posix()
        for path in found
        if path.name not in NOT_INSTALLED
        and path.suffix != ".pyc"
        and not any(part.endswith((".egg-info", "__pycache__")) for part in path.parts)
    }


def test_every_python_file_of_the_module_is_installed(evaluated):
    there = {name for name in files_of_the_module() if name.endswith(".py")}
    compare(evaluated["SCRIPTS"], there, "MODULE_PYTHON_SCRIPTS")


def test_every_resource_of_the_module_is_installed(evaluated):
    there = {name for name in files_of_the_module() if not name.endswith(".py")}
    compare(evaluated["RESOURCES"], there, "MODULE_PYTHON_RESOURCES")


def test_reading_without_cmake_agrees_with_cmake(evaluated):
    assert read_without_cmake() == evaluated


def test_the_self_test_is_registered_with_ctest(evaluated):
    assert evaluated["UNITTEST"] == (MODULE / "CSAMSegment.py").as_posix()


def test_the_project_is_named_as_its_entry_in_the_extensions_index(evaluated):
    assert (ROOT / "Resources" / f"{evaluated['PROJECT']}.json").is_file()
    assert evaluated["NAME"] == "CSAMSegment"


def test_index_entry_and_cmake_name_one_address_and_the_same_dependencies(evaluated):
    entry = json.loads((ROOT / "Resources" / "CSAMSegment.json").read_text())
    assert evaluated["HOMEPAGE"] == entry["scm_url"]
    assert evaluated["DEPENDS"].split(";") == entry["build_dependencies"]
    for name in ("ICONURL", "SCREENSHOTURLS"):
        prefix = f"{entry['scm_url']}/raw/{entry['scm_revision']}/"
        for url in evaluated[name].split():
            assert url.startswith(prefix)
            assert url.endswith(".png")
            assert (ROOT / url.removeprefix(prefix)).is_file(), f"{url} is not in the repository"


@pytest.mark.skipif(not shutil.which("cmake"), reason="CMake is not installed")
@pytest.mark.parametrize(("version", "builds"), [("5.8", False), ("5.9", False), ("5.10", True), ("5.13", True)])
def test_a_slicer_older_than_the_stated_one_is_refused_in_words(tmp_path, version, builds):
    done = run_cmake(tmp_path, version)
    assert (done.returncode == 0) == builds
    assert ("CSAMSegment needs Slicer 5.10 or later" in done.stderr) != builds


def test_the_readme_states_the_slicer_version_that_cmake_asks_for():
    asked = re.search(r"set\(MINIMUM_SLICER_VERSION ([\d.]+)\)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    assert f"Slicer {asked} or later" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_description_is_one_or_two_sentences(evaluated):
    assert 1 <= len(re.findall(r"[.!?](?:\s|$)", evaluated["DESCRIPTION"])) <= 2


def test_no_text_of_the_extension_is_cut_at_a_semicolon(evaluated):
    # SlicerExtensionCPack passes them unquoted, as lists: what follows a semicolon is lost.
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"):
        assert ";" not in evaluated[name], f"Put EXTENSION_{name} without a semicolon"


def test_the_icons_are_128_pixels_square():
    for path in (ROOT / "CSAMSegment.png", MODULE / "Resources" / "Icons" / "CSAMSegment.png"):
        header = path.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (128, 128)


def test_every_text_file_ends_its_lines_with_a_line_feed():
    endings = {".py", ".txt", ".md", ".json", ".ui", ".toml", ".cff", ".sh", ""}
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in endings and path.is_file():
            assert b"\r\n" not in path.read_bytes(), f"{name} has Windows line ends"


def test_development_pins_torch():
    # An open range would fetch the newest GPU build, several GB.
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_versions_in_the_citation_and_the_engine_agree():
    import csam

    assert f"version: {csam.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_file_that_is_not_listed_is_named(evaluated):
    with pytest.raises(AssertionError, match=r"add the line    csam/new\.py"):
        compare("csam/__init__.py", {"csam/__init__.py", "csam/new.py"}, "MODULE_PYTHON_SCRIPTS")
    with pytest.raises(AssertionError, match=r"remove the line csam/old\.py"):
        compare("csam/__init__.py;csam/old.py", {"csam/__init__.py"}, "MODULE_PYTHON_SCRIPTS")


def test_what_pip_installs_has_every_package_and_the_shipped_model(tmp_path):
    """Built for real: an editable install, as here, finds the model where it lies in the repository."""
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    shutil.copytree(ROOT / "CSAMSegment", source / "CSAMSegment", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE.txt"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "place"), str(source)], check=True)
    packages = {path.parent.relative_to(ROOT / "CSAMSegment") for path in ROOT.glob("CSAMSegment/csam/**/__init__.py")}
    assert all((tmp_path / "place" / package / "__init__.py").is_file() for package in packages)
    assert (tmp_path / "place" / "csam" / "py.typed").is_file(), "type checkers of other programs look for it"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "place")}
    command = [sys.executable, "-m", "csam", "models"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cardiac-lv")


def test_every_file_of_the_package_has_20_to_400_lines():
    """One idea per file. ``__init__`` and ``__main__`` may be shorter."""
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert len(lengths) > 100
    assert [name for name, count in lengths.items() if count < 20] == [], "Move these into the file that uses them"
    assert [name for name, count in lengths.items() if count > 400] == [], "Divide these by what they do"
