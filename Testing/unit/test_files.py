"""Images, JSON and moved files at one place: what is cut, leans, is held open or badly named, on every system."""

import ast
import codecs
import gzip
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.cli import find_model, main
from csam.cli import read_image as read_frame
from csam.errors import InputError
from csam.image import files
from csam.image.file_checks import fault_of
from csam.image.files import check_writable, read_image, read_json, replace_file, write_image
from csam.training.dataset import read_dataset, read_split

MODULE = Path(__file__).parents[2] / "CSAMSegment"
ASCII_VTK = (
    "# vtk DataFile Version 3.0\nname\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 20 18 6\nSPACING 2 2 8\n"
    "ORIGIN 0 0 0\nPOINT_DATA 2160\nSCALARS scalars short 1\nLOOKUP_TABLE default\n"
)


def voxels(image):
    return sitk.GetArrayFromImage(image)


def test_images_are_read_and_written_and_files_moved_in_one_place():
    found = set()
    for path in MODULE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and (
                node.attr in ("ReadImage", "WriteImage", "rename", "ImageFileReader", "ImageFileWriter")
                or (node.attr in ("replace", "move") and ast.unparse(node.value) in ("os", "shutil", "path"))
            ):
                found.add(path.relative_to(MODULE).as_posix())
    assert found == {"csam/image/files.py"}


def stacked_tiff(pages, big=False) -> bytes:
    """A TIFF file of 16-bit pages, each page's table before its pixels."""
    word, count, entry = ("<Q", "<Q", "<HHQQ") if big else ("<I", "<H", "<HHII")
    data = bytearray(b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4))
    link = 8 if big else 4
    for page in pages:
        struct.pack_into(word, data, link, len(data))
        tags = {256: page.shape[1], 257: page.shape[0], 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: page.shape[0]}
        tags[279] = page.nbytes
        begin = len(data) + struct.calcsize(count) + len(tags) * struct.calcsize(entry) + struct.calcsize(word)
        tags[273] = begin
        data += struct.pack(count, len(tags))
        for tag, value in tags.items():
            data += struct.pack(entry, tag, 4 if tag in (256, 257, 273, 278, 279) else 3, 1, value)
        link = len(data)
        data += struct.pack(word, 0) + page.astype("<u2").tobytes()
    return bytes(data)


@pytest.mark.parametrize("kind", ["vtk", "ascii.vtk", "gipl", "gipl.gz", "tif", "nii", "nii.gz", "img"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_cut_file_is_refused_whatever_itk_makes_of_it(tmp_path, kind, share):
    path, original = tmp_path / f"a.{kind}", small.image()
    if kind == "ascii.vtk":
        path.write_text(ASCII_VTK + " ".join(map(str, voxels(original).ravel())) + "\n")
    else:
        write_image(original, path)
    np.testing.assert_array_equal(voxels(read_image(path)), voxels(original))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"^a\..* is incomplete.*; copy it again from its source\.$"):
        read_image(path)


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_a_whole_vtk_file_of_any_numbers_is_whole(tmp_path, kind, components):
    array = np.random.default_rng(0).random((4, 5, 6, components)).astype(kind)
    image = sitk.GetImageFromArray(array, isVector=True) if components > 1 else sitk.GetImageFromArray(array[..., 0])
    write_image(image, tmp_path / "a.vtk")
    assert fault_of(tmp_path / "a.vtk") is None
    content = (tmp_path / "a.vtk").read_bytes()
    (tmp_path / "a.vtk").write_bytes(content[: len(content) - 8 * array.itemsize])
    assert "incomplete" in fault_of(tmp_path / "a.vtk")


@pytest.mark.parametrize("big", [False, True])
def test_the_chain_of_a_tiff_files_pages_may_break_anywhere(tmp_path, big):
    path, data = tmp_path / "a.tif", stacked_tiff(np.ones((3, 4, 5), np.uint16), big)
    path.write_bytes(data)
    assert fault_of(path) is None
    last = data.rindex(struct.pack("<HH", 256, 4))  # the first entry of the last page's table
    for end in range(last - 20, last + 100, 3):
        path.write_bytes(data[:end])
        assert "incomplete" in fault_of(path)


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_what_a_reader_refuses_by_itself_is_not_called_missing(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_image(small.image(), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="cannot be read as an image") as caught:
        read_image(path)
    assert "No such file" not in str(caught.value)
    assert str(caught.value).endswith("Give a complete volume, such as NIfTI or NRRD.")


def test_a_compressed_file_is_named_as_what_it_is(tmp_path):
    for ending, advice in (
        ("nii", r"rename it to a\.nii\.gz"),
        ("gipl", r"rename it to a\.gipl\.gz"),
        ("nrrd", "unpack it first"),
    ):
        path = tmp_path / f"a.{ending}"
        write_image(small.image(), path)
        path.write_bytes(gzip.compress(path.read_bytes()))
        with pytest.raises(InputError, match=rf"a\.{ending} is compressed \(gzip\).*{advice}"):
            read_image(path)
    (tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    assert read_image(tmp_path / "a.nii.gz").GetSize() == (20, 18, 6)


def leaning(path, degrees, pack=False):
    """A NIfTI file of 20×18×6 voxels, of which only the sform says where they lie; its slice axis leans."""
    write_image(small.image(), path.with_name("straight.nii"))
    data = bytearray(path.with_name("straight.nii").read_bytes())
    struct.pack_into("<2h", data, 252, 0, 1)
    matrix = np.diag([2.0, 2.0, 8.0])
    matrix[[0, 2], 2] = 8 * np.sin(np.radians(degrees)), 8 * np.cos(np.radians(degrees))
    for row in range(3):
        struct.pack_into("<4f", data, 280 + 16 * row, *matrix[row], 5.0)
    path.write_bytes(gzip.compress(data) if pack else data)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_axes_that_lean_by_hundredths_of_a_degree_are_read_and_nothing_is_said(tmp_path, name):
    said = []
    image = read_image(leaning(tmp_path / name, 0.012, pack=name.endswith("gz")), said.append)
    np.testing.assert_array_equal(voxels(image), voxels(small.image()))
    np.testing.assert_allclose(image.GetDirection(), (-1, 0, 0, 0, -1, 0, 0, 0, 1), atol=4e-4)
    assert image.GetSpacing() == pytest.approx((2, 2, 8))
    assert image.GetOrigin() == pytest.approx((-5, -5, 5))
    assert not said
    assert files.PERMISSIVE not in os.environ


def test_axes_that_lean_by_more_are_read_with_a_note_or_refused_with_their_angle(tmp_path):
    said = []
    read_image(leaning(tmp_path / "a.nii", 0.5), said.append)
    assert len(said) == 1
    assert said[0].startswith(
        "The axes of a.nii are 0.5° off the right angle. They are treated as at right angles, which moves"
    )
    with pytest.raises(
        InputError, match=r"The axes of a.nii are 12.0° off the right angle; at most 1° can be read. Load it in Slicer"
    ):
        read_image(leaning(tmp_path / "a.nii", 12.0))


@pytest.mark.parametrize("last", [False, True])
def test_a_sequence_of_slicer_is_a_series_of_volumes(tmp_path, last, monkeypatch, capsys):
    series = np.stack([voxels(small.image(seed=seed)) for seed in range(3)])
    stored = series if last else np.ascontiguousarray(np.moveaxis(series, 0, -1))
    axes = [("20", "domain", "(2,0,0)"), ("18", "domain", "(0,2,0)"), ("6", "domain", "(0,0,8)")]
    axes.insert(3 if last else 0, ("3", "list", "none"))
    sizes, kinds, directions = map(" ".join, zip(*axes, strict=True))
    header = (
        f"NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {sizes}\n"
        f"space directions: {directions}\nkinds: {kinds}\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    )
    path = tmp_path / "a.seq.nrrd"
    path.write_bytes(header.encode() + stored.tobytes())
    for number in range(3):
        one = read_frame(str(path), number)
        np.testing.assert_array_equal(voxels(one), series[number])
        assert one.GetSpacing() == (2, 2, 8)
    with pytest.raises(InputError, match="volumes 0 to 2; there is no volume 3"):
        read_frame(str(path), 3)
    monkeypatch.chdir(tmp_path)
    small.model().save("model")
    assert main(["segment", str(path), "--model", "model", "--out", "all", "--samples", "1"]) == 0
    assert "Frame 3 of 3" in capsys.readouterr().out
    assert main(["segment", str(path), "--model", "model", "--out", "out", "--frame", "1", "--samples", "1"]) == 0


def test_a_colour_image_is_no_series(tmp_path):
    colours = sitk.GetImageFromArray(np.zeros((2, 4, 5, 3), np.uint8), isVector=True)
    write_image(colours, tmp_path / "a.nrrd")
    with pytest.raises(InputError, match=r"3 dimensions and 3 value\(s\) per voxel; a series of volumes was expected"):
        read_frame(str(tmp_path / "a.nrrd"), 1)


@pytest.fixture
def old_windows(monkeypatch):
    """SimpleITK opens no path with an umlaut until the process asks Windows for UTF-8; returns what was asked."""
    asked, read, write, setlocale = [], sitk.ReadImage, sitk.WriteImage, files.locale.setlocale

    def checked(path):
        if not str(path).isascii() and not asked:
            raise RuntimeError(f'The file "{path}" does not exist.')

    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files.locale, "setlocale", lambda *what: asked.append(what) if what[1:] else setlocale(*what))
    monkeypatch.setattr(sitk, "ReadImage", lambda path: checked(path) or read(path))
    monkeypatch.setattr(sitk, "WriteImage", lambda image, path, **more: checked(path) or write(image, path, **more))
    return asked


def test_a_path_with_an_umlaut_is_opened_on_windows_too(tmp_path, old_windows):
    path = tmp_path / "Jörg Müller" / "Scan für morgen.nii.gz"
    path.parent.mkdir()
    write_image(small.image(), path)
    np.testing.assert_array_equal(voxels(read_image(path)), voxels(small.image()))
    assert {*old_windows} == {(files.locale.LC_CTYPE, ".UTF8")}  # not LC_ALL: the decimal point stays


def test_a_plain_path_changes_nothing_on_windows(tmp_path, old_windows):
    write_image(small.image(), tmp_path / "a.nrrd")
    read_image(tmp_path / "a.nrrd")
    assert not old_windows


def test_where_windows_knows_no_utf8_the_letters_are_named_before_the_run(tmp_path, old_windows, monkeypatch, capsys):
    def unknown(_part, wanted=None):
        if wanted is not None:
            raise files.locale.Error("unsupported locale setting")

    image, folder = tmp_path / "a.nrrd", tmp_path / "Ergebnis für Jörg"
    write_image(small.image(), image)
    small.model().save(tmp_path / "model")
    monkeypatch.setattr(files.locale, "setlocale", unknown)
    monkeypatch.setattr("csam.pipeline.segment.segment", None)  # never reached
    assert main(["segment", str(image), "--model", str(tmp_path / "model"), "--out", str(folder)]) == 2
    assert "Or use a path without üö, which this Windows may be unable to open." in capsys.readouterr().err
    there = image.rename(tmp_path / "größer.nrrd")
    with pytest.raises(InputError, match=r"cannot be read as an image.* Or use a path without öß,"):
        read_image(there)


def test_a_reader_that_leaves_another_locale_behind_changes_nothing(tmp_path):
    before = files.locale.setlocale(files.locale.LC_ALL)
    write_image(small.image(), tmp_path / "a.vtk")
    read_image(tmp_path / "a.vtk")
    assert files.locale.setlocale(files.locale.LC_ALL) == before


def test_a_name_that_is_no_text_is_refused_and_does_not_end_the_process(tmp_path):
    for use in (read_image, lambda path: write_image(small.image(), path)):
        with pytest.raises(InputError, match=r"a\\udcff.nii is not in UTF-8. Rename the file"):
            use(f"{tmp_path}/a\udcff.nii")


def test_trying_a_folder_leaves_nothing_in_it(tmp_path):
    check_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot be written to"):
        check_writable(tmp_path / "nowhere")


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_as_any_editor_writes_it(tmp_path, code):
    (tmp_path / "a.json").write_text(json.dumps({"name": "Jörg"}, ensure_ascii=False), encoding=code)
    assert read_json(tmp_path / "a.json") == {"name": "Jörg"}


def test_json_that_is_nested_too_deeply_is_no_json(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_spoils_no_file_that_a_person_writes(tmp_path, capsys, monkeypatch):
    def marked(path, values=None):
        text = path.read_text() if values is None else json.dumps(values)
        path.write_bytes(codecs.BOM_UTF8 + text.encode())
        return str(path)

    monkeypatch.chdir(tmp_path)
    folder = small.dataset(tmp_path / "data", patients=3)
    marked(folder / "dataset.json")
    data = read_dataset(folder)
    assert len(data.cases) == 3
    split = marked(tmp_path / "split.json", {"training": ["p00_0", "p01_0"], "validation": ["p02_0"]})
    assert [len(side) for side in read_split(split, data)] == [2, 1, 0]
    small.model().save(tmp_path / "model")
    marked(tmp_path / "model" / "model.json")
    assert find_model("model") == small.model()
    plan, card = marked(tmp_path / "plan.json", {"steps": 3}), marked(tmp_path / "card.json", {"title": "Mine"})
    line = ["train", "data", "--out", "out", "--dry-run", "--plan", plan, "--card", card, "--split", split]
    assert main(line) == 0, capsys.readouterr().err


def test_a_file_that_a_virus_scanner_holds_is_replaced_when_it_lets_go(tmp_path, monkeypatch):
    move, tries = os.replace, []

    def held(source, target):
        tries.append(source)
        if len(tries) < 4:
            raise PermissionError(13, "The process cannot access the file")
        move(source, target)

    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(files.os, "replace", held)
    replace_file(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
    assert len(tries) == 4


@pytest.mark.parametrize("windows", [False, True])
def test_a_file_that_stays_held_is_given_up_and_elsewhere_at_once(monkeypatch, windows):
    now, slept = [0.0], []

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(files, "WINDOWS", windows)
    monkeypatch.setattr(files.time, "sleep", sleep)
    monkeypatch.setattr(files.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(files.os, "replace", denied)
    with pytest.raises(PermissionError):
        replace_file("a", "b")
    assert (0.8 * files.PATIENCE < sum(slept) <= files.PATIENCE) if windows else not slept


def test_two_processes_may_write_the_same_file_at_once(tmp_path, monkeypatch):
    """Two folds of one cross-validation, started in the same second, both write how the data are split."""
    move = files.replace_file

    def late(source, target):
        monkeypatch.setattr(files, "replace_file", move)
        monkeypatch.setattr(os, "getpid", lambda: 2)
        files.write_text(target, "the other's")
        move(source, target)

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(files, "replace_file", late)
    files.write_text(tmp_path / "a.json", "mine")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "mine"}
