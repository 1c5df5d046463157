"""What a folder of cases holds: images by name, channels by number, DICOM series, and what is none of them."""

import locale
import os

import pytest
import SimpleITK as sitk
from unit import small

from csam.batch.cases import Case, find_cases, safe_name, source_of
from csam.batch.run import read_case
from csam.errors import InputError
from csam.image.files import opening


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "scans"
    made.mkdir()
    return made


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def dicom(folder, uid="1.2.3", positions=(0, 8, 16), seed=0):
    """A series of slices at these places along the slice axis."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    image = small.image((6, 5, len(positions)), seed=seed)
    for number, place in enumerate(positions):
        piece = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[number : number + 1])
        piece.SetSpacing((2.0, 2.0, 8.0))
        tags = {
            "0008|0060": "MR", "0008|0018": f"{uid}.{number}", "0020|000d": "1.2", "0020|000e": uid,
            "0020|0013": str(number), "0020|0032": f"0\\0\\{place}", "0020|0037": "1\\0\\0\\0\\1\\0",
        }  # fmt: skip
        for tag, value in tags.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}-{number:03d}.dcm"))
        with opening(folder):  # ITK's DICOM leaves the locale "C" behind
            writer.Execute(piece)
    return image


def names(found):
    return {case.name: case.images for case in found.cases}


def test_every_image_is_a_case_named_after_its_place_and_what_is_hidden_or_no_image_is_none(folder):
    touch(
        folder,
        *("a.nii.gz", "b.nrrd", "c.mha", "deep/er/d.nii", "notes.txt", "a.seg.nrrd", ".hidden.nii.gz", "._a.nii.gz"),
        *(".cache/e.nii.gz", "__MACOSX/f.nii.gz", ".nii.gz"),
    )
    found = find_cases(folder)
    assert names(found) == {
        "a": ("a.nii.gz",), "b": ("b.nrrd",), "c": ("c.mha",), "deep_er_d": ("deep/er/d.nii",),
    }  # fmt: skip
    assert found.faults == ()


def test_channels_go_by_their_numbers_and_a_wrong_count_is_a_named_fault(folder):
    touch(folder, "p1_0000.nii.gz", "p1_0001.nii.gz", "p2_0000.nii.gz", "p3_0001.nii.gz", "series.nii.gz")
    found = find_cases(folder, 2)
    assert names(found) == {"p1": ("p1_0000.nii.gz", "p1_0001.nii.gz"), "series": ("series.nii.gz",)}
    faults = dict(found.faults)
    assert faults["p2"] == "Its files end in _0000. The model needs _0000, _0001: add or rename files."
    assert "p3" in faults
    found = find_cases(folder, 1)
    assert names(found) == {"p2": ("p2_0000.nii.gz",), "p3_0001": ("p3_0001.nii.gz",), "series": ("series.nii.gz",)}
    assert [*dict(found.faults)] == ["p1"]


def test_cases_of_one_name_are_a_fault_and_none_of_them_is_taken(folder):
    touch(folder, "scan.nii.gz", "Scan.nrrd", "x/y.nii", "x_y.mha", "other.nii")
    found = find_cases(folder)
    assert [*names(found)] == ["other"]
    said = dict(found.faults)
    assert said["Scan"] == "Several cases have the name Scan: Scan.nrrd, scan.nii.gz. Rename all but one."
    assert "x_y.mha, x/y.nii" in said["x_y"]


def test_each_dicom_series_is_a_case_and_reads_as_its_volume(folder):
    image = dicom(folder / "p1")
    dicom(folder / "p2", "1.2.5")
    dicom(folder / "p2", "1.2.6", seed=1)
    before = locale.setlocale(locale.LC_ALL)
    found = find_cases(folder)
    first, *others = found.cases
    assert first == Case("p1", ("p1",), "1.2.3")
    assert [case.name[:3] for case in others] == ["p2_", "p2_"]
    assert others[0].name != others[1].name
    [read], said = read_case(first, folder)
    assert sitk.GetArrayFromImage(read).tolist() == sitk.GetArrayFromImage(image).tolist()
    assert (read.GetSpacing(), said) == ((2.0, 2.0, 8.0), [])
    assert locale.setlocale(locale.LC_ALL) == before


def test_a_folder_that_is_itself_one_series_is_a_case_of_its_name(folder):
    dicom(folder)
    assert [case.name for case in find_cases(folder).cases] == ["scans"]


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        ((0, 8, 24), "are 8.0 to 16.0 mm apart, not evenly spaced"),
        ((0, 0, 8, 8), "are 0.0 to 8.0 mm apart, not evenly spaced"),
        ((8, 8, 8, 8), "lie at one place"),
    ],
)
def test_a_series_with_a_gap_or_several_slices_at_one_place_is_refused(folder, positions, said):
    dicom(folder, positions=positions)
    with pytest.raises(InputError, match=said):
        read_case(find_cases(folder).cases[0], folder)


def test_a_dicom_folder_of_rubbish_is_a_named_fault(folder):
    touch(folder, "p1/a.dcm", "ok.nii")
    [(name, said)] = find_cases(folder).faults
    assert name == "p1"
    assert "No DICOM series can be read" in said


def test_no_folder_no_image_and_a_data_set_are_said(folder):
    with pytest.raises(InputError, match="There is no folder"):
        find_cases(folder / "nowhere")
    touch(folder, "notes.txt")
    with pytest.raises(InputError, match="No image was found in"):
        find_cases(folder)
    touch(folder, "dataset.json", "imagesTr/a_0000.nii")
    with pytest.raises(InputError, match="Choose the folder imagesTr"):
        find_cases(folder)


def test_a_folder_that_cannot_be_looked_into_is_a_fault(folder, monkeypatch):
    touch(folder, "ok.nii", "closed/a.nii")
    scandir = os.scandir

    def denied(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    found = find_cases(folder)
    assert [*names(found)] == ["ok"]
    assert dict(found.faults)["closed"].endswith("closed cannot be read: Permission denied.")


def test_links_that_lead_in_a_circle_are_followed_once(folder):
    touch(folder, "a.nii")
    (folder / "again").symlink_to(folder)
    assert [*names(find_cases(folder))] == ["a"]


def test_a_long_name_is_cut_and_stays_its_own(folder):
    touch(folder, f"{'x' * 70}/{'y' * 70}a.nii", f"{'x' * 70}/{'y' * 70}b.nii")
    cut = [*names(find_cases(folder))]
    assert len(set(cut)) == 2
    assert all(len(name) <= 100 for name in cut)


def test_a_changed_file_is_another_source(folder):
    case = Case("a", ("a.nii",))
    touch(folder, "a.nii")
    before = source_of(case, folder)
    assert before == source_of(case, folder)
    (folder / "a.nii").write_bytes(b"more")
    assert source_of(case, folder) != before
    with pytest.raises(OSError, match="gone"):
        source_of(Case("gone", ("gone.nii",)), folder)


def test_a_name_of_many_bytes_is_one_that_file_systems_take():
    names = {safe_name("心" * length) for length in (50, 98, 99)}
    assert len(names) == 3
    assert all(len(name.encode()) <= 100 for name in names)


def test_a_name_that_windows_keeps_for_a_device_is_not_that_of_a_folder():
    assert [safe_name(name) for name in ("AUX", "con.scan", "com1", "auxiliary")] == [
        *("_AUX", "_con.scan", "_com1", "auxiliary"),
    ]
    assert safe_name(safe_name("nul")) == safe_name("nul")
