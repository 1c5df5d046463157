"""Data sets in nnU-Net's raw layout: every fault is found, and found together; patients stay whole."""

import gzip
import json
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from unit import small

from csam.errors import InputError
from csam.image.file_checks import fault_of
from csam.training.dataset import inspect, read_dataset, split


@pytest.fixture
def folder(tmp_path):
    return small.dataset(tmp_path / "data", patients=3, scans=2)


def test_a_sound_data_set_is_read(folder):
    data = read_dataset(folder, "(p..)_")
    assert data.name == "Balls"
    assert data.licence == "CC0-1.0"
    assert data.channels == ("picture",)
    assert data.labels == ("bright ball", "grey ball")
    assert data.patients == ["p00", "p01", "p02"]
    assert [case.name for case in data.cases] == ["p00_0", "p00_1", "p01_0", "p01_1", "p02_0", "p02_1"]
    images, truth = data.cases[0].read()
    assert len(images) == 1
    assert images[0].GetSize() == truth.GetSize() == (20, 18, 6)


def test_without_a_pattern_every_scan_is_its_own_patient(folder):
    assert len(read_dataset(folder).patients) == 6


def test_the_channels_come_in_the_order_of_their_numbers(folder):
    change_json(folder, channel_names={"10": "last", "2": "middle", "0": "first"})
    with pytest.raises(InputError):
        read_dataset(folder)  # the files of the further channels are missing
    for path in sorted((folder / "imagesTr").glob("*_0000.nii.gz")):
        for number in (1, 2):
            (folder / "imagesTr" / path.name.replace("_0000", f"_{number:04d}")).write_bytes(path.read_bytes())
    data = read_dataset(folder)
    assert data.channels == ("first", "middle", "last")
    assert [path.name for path in data.cases[0].images] == [f"p00_0_{n:04d}.nii.gz" for n in range(3)]


def change_json(folder, **changes):
    info = json.loads((folder / "dataset.json").read_text()) | changes
    (folder / "dataset.json").write_text(json.dumps({k: v for k, v in info.items() if v is not None}))


def test_all_faults_are_listed_together(folder):
    images, labels = folder / "imagesTr", folder / "labelsTr"
    (images / "p00_0_0000.nii.gz").unlink()
    (images / "p00_1_0000.nii.gz").write_bytes(b"no image")
    sitk.WriteImage(small.image((20, 18, 7)), str(images / "p01_0_0000.nii.gz"))
    sitk.WriteImage(small.placed(np.full((6, 18, 20), 7, np.uint8)), str(labels / "p01_1.nii.gz"))
    (labels / "p02_0.nii.gz").unlink()
    sitk.WriteImage(small.placed(np.full((6, 18, 20), 0.5, np.float32)), str(labels / "p02_1.nii.gz"))
    with pytest.raises(InputError) as caught:
        read_dataset(folder, "(p.[01])_")
    lines = str(caught.value).splitlines()[1:]
    for fault in (
        "p00_0: p00_0_0000.nii.gz is missing",
        f"p00_1: {images}/p00_1_0000.nii.gz cannot be read as an image",
        "p01_0: p01_0_0000.nii.gz and its labels do not have the same size",
        "p01_1: its labels hold the values [7]",
        "p02_0: there is an image but no labelsTr/p02_0.nii.gz",
        "p02_1: its labels hold the values [0.5]",
        "p02_1: the patient pattern '(p.[01])_' does not match its name",
    ):
        assert len([line for line in lines if fault in line]) == 1, (fault, lines)
    assert len(lines) == 7


def test_an_image_that_is_no_scalar_volume_is_a_fault(folder):
    series = sitk.JoinSeries([small.image(), small.image()])
    sitk.WriteImage(series, str(folder / "imagesTr" / "p00_0_0000.nii.gz"))
    with pytest.raises(InputError, match=r"p00_0: p00_0_0000.nii.gz is a file of 2 volumes; dataset.json names 1"):
        read_dataset(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"channel_names": None},
        {"labels": ["background", "ball"]},
        {"labels": {"background": "none"}},
        {"file_ending": None},
        {"channel_names": {"zero": "picture"}},
        {"labels": {"background": 0, "ball": 2}},
        {"labels": {"background": 0}},
        {"labels": {"background": 0, "ball": [1, 2]}},
    ],
    ids=str,
)
def test_an_unusable_table_of_contents_is_refused_in_words(folder, change):
    change_json(folder, **change)
    with pytest.raises(InputError, match=r"dataset\.json"):
        read_dataset(folder)


def test_a_folder_that_is_no_data_set_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="not a data set in nnU-Net's raw layout"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="not a data set in nnU-Net's raw layout"):
        read_dataset(tmp_path)


def test_a_data_set_without_cases_is_refused(folder):
    for path in [*(folder / "labelsTr").iterdir(), *(folder / "imagesTr").iterdir()]:
        path.unlink()
    with pytest.raises(InputError, match=r"no labelsTr/\*\.nii\.gz was found"):
        read_dataset(folder)


def test_a_patient_pattern_that_is_no_regular_expression_is_refused(folder):
    with pytest.raises(InputError, match="not a regular expression"):
        read_dataset(folder, "(p")


def test_a_pattern_that_leaves_the_patient_open_is_a_fault(folder):
    with pytest.raises(InputError, match=r"p00_0: the patient pattern '.x.?.*' does not match its name"):
        read_dataset(folder, "(x)?.*")


@given(count=st.integers(2, 40), data=st.data(), seed=st.integers(0, 5))
def test_a_split_is_whole_disjoint_and_repeatable(count, data, seed):
    patients = [f"p{n}" for n in range(count)]
    wanted = data.draw(st.integers(1, count - 1))
    training, validation = split(patients, wanted, seed)
    assert len(validation) == wanted
    assert sorted(training + validation) == sorted(patients)
    assert split(patients[::-1], wanted, seed)[1] == validation


def test_another_seed_splits_otherwise():
    patients = [f"p{n:02d}" for n in range(30)]
    assert split(patients, 8, 0) != split(patients, 8, 1)


@pytest.mark.parametrize("wanted", [0, 3, 9])
def test_a_split_that_leaves_nobody_on_one_side_is_refused(wanted):
    with pytest.raises(InputError, match="leave at least one"):
        split(["a", "b", "c"], wanted)


def test_files_that_are_cut_short_are_faults_though_itk_fills_them_with_zeros(folder):
    cut = ["imagesTr/p00_0_0000.nii.gz", "labelsTr/p00_0.nii.gz", "labelsTr/p01_0.nii.gz"]
    for name in cut:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    _, faults = inspect(folder)
    assert [fault.split(" is incomplete")[0] for fault in faults] == [
        "p00_0: p00_0_0000.nii.gz",
        "p00_0: p00_0.nii.gz",
        "p01_0: p01_0.nii.gz",
    ]


def test_a_nifti_file_is_whole_when_it_holds_what_its_header_promises(tmp_path):
    whole, packed = tmp_path / "a.nii", tmp_path / "a.nii.gz"
    sitk.WriteImage(small.image(), str(whole))
    data = whole.read_bytes()
    for held, said in (
        (data, None),
        (data[:-1], "should have 4672 bytes according to its header but has 4671"),
        (data[:400], "but has 400"),
    ):
        whole.write_bytes(held)
        packed.write_bytes(gzip.compress(held))
        for path in (whole, packed):
            found = fault_of(path)
            assert found is None if said is None else said in found
    packed.write_bytes(data)  # named as if it were compressed, which ITK reads
    assert fault_of(packed) is None
    damaged = bytearray(gzip.compress(data))
    damaged[-6] ^= 1
    packed.write_bytes(damaged)
    assert "damaged" in fault_of(packed)


@pytest.mark.parametrize("order", "<>")
def test_the_second_version_of_nifti_is_measured_too_in_either_order_of_bytes(tmp_path, order):
    header = bytearray(544)
    struct.pack_into(order + "i8s", header, 0, 540, b"n+2\0\r\n\x1a\n")
    struct.pack_into(order + "hh8q", header, 12, 4, 16, 3, 20, 18, 6, 1, 1, 1, 1)
    struct.pack_into(order + "q", header, 168, 544)
    path = tmp_path / "a.nii"
    path.write_bytes(header + bytes(2 * 20 * 18 * 6))
    assert fault_of(path) is None
    path.write_bytes(header + bytes(2 * 20 * 18 * 6 - 1))
    assert "should have 4864 bytes" in fault_of(path)


def test_a_packed_file_may_have_several_members_and_padding_behind_them(tmp_path):
    plain, packed = tmp_path / "plain.nii", tmp_path / "packed.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((30, 300, 300), np.int16)), str(plain))
    content = plain.read_bytes()
    members = [gzip.compress(content[:100]), gzip.compress(content[100:])]
    for behind in (b"", bytes(512), b"\x1f", b"somebody's own"):
        packed.write_bytes(b"".join(members) + behind)
        assert fault_of(packed) is None
    for missing in (1, 9, len(members[1]) + 1):
        packed.write_bytes(b"".join(members)[:-missing])
        assert "incomplete" in fault_of(packed)


def test_the_type_of_a_voxel_counts_and_not_its_number_of_bits(tmp_path):
    path = tmp_path / "odd.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 8, 8), np.int16)), str(path))
    content = bytearray(path.read_bytes())
    content[72:74] = (32).to_bytes(2, "little")
    path.write_bytes(content)
    assert fault_of(path) is None
    path.write_bytes(content[:-1])
    assert "incomplete" in fault_of(path)


def test_what_is_no_nifti_file_is_left_to_its_reader(tmp_path):
    for name in ("a.nii", "a.nii.gz", "a.nrrd"):
        (tmp_path / name).write_bytes(b"no image")
        assert fault_of(tmp_path / name) is None
