"""Frames, and what travels in them, arrive as they were sent; anything else ends in a clear error."""

import io
import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from csam.errors import ERRORS, Cancelled, CSAMError, InputError, WorkerError
from csam.image.raster import Raster
from csam.process import protocol
from csam.process.protocol import PipeClosed, pack_images, read_frame, unpack_images, write_frame
from csam.result import Options, Result, SliceScore, StructureVolume

QUICK = settings(max_examples=60, deadline=None)
SCALARS = [name for name in protocol.DTYPES if not name.startswith("complex")]
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


def through_a_frame(header, buffers=()):
    stream = io.BytesIO()
    write_frame(stream, header, buffers)
    stream.seek(0)
    return read_frame(stream)


def send_images(images):
    specs, buffers = pack_images(images)
    header, payload = through_a_frame({"type": "result", "images": specs}, buffers)
    return unpack_images(header["images"], payload)


def frame(**header):
    return json.dumps(header).encode() + b"\n"


@st.composite
def directions(draw, dimension):
    """A proper or left-handed orthonormal matrix with full-length binary fractions, flattened."""
    numbers = draw(st.integers(0, 2**32 - 1))
    matrix, _ = np.linalg.qr(np.random.default_rng(numbers).normal(size=(dimension, dimension)))
    return tuple(matrix.ravel().tolist())


@st.composite
def images(draw):
    dimension = draw(st.integers(2, 4))
    sizes = draw(st.lists(st.integers(1, 4), min_size=dimension, max_size=dimension))
    components = draw(st.one_of(st.none(), st.integers(1, 3)))
    dtype = draw(st.sampled_from(SCALARS if components else protocol.DTYPES))
    shape = sizes if components is None else [*sizes, components]
    image = sitk.GetImageFromArray(draw(npst.arrays(dtype, shape)), isVector=components is not None)
    spacing = st.floats(1e-6, 1e6, width=64)
    image.SetSpacing(draw(st.lists(spacing, min_size=dimension, max_size=dimension)))
    image.SetOrigin(draw(st.lists(FINITE, min_size=dimension, max_size=dimension)))
    image.SetDirection(draw(directions(dimension)))
    return image


def everything_of(image):
    pixels = sitk.GetArrayFromImage(image)
    geometry = [
        [value.hex() for value in part] for part in (image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    ]
    return image.GetPixelIDTypeAsString(), image.GetSize(), pixels.dtype, pixels.tobytes(), geometry


@QUICK
@given(st.lists(images(), max_size=3))
def test_images_arrive_bit_for_bit_with_their_geometry(sent):
    sent = {f"image {number}": image for number, image in enumerate(sent)}
    arrived = send_images(sent)
    assert list(arrived) == list(sent)
    for name, image in sent.items():
        assert everything_of(arrived[name]) == everything_of(image)


@QUICK
@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**63), 2**63), FINITE, st.none(), st.booleans())),
    st.lists(st.binary(max_size=50), max_size=4),
)
def test_header_and_bytes_arrive_as_they_were_sent(fields, buffers):
    sent = {**fields, "type": "note", "id": 2**53 + 1}
    header, payload = through_a_frame(sent, buffers)
    assert {name: value for name, value in header.items() if name != "bytes"} == {
        name: value for name, value in sent.items() if name != "bytes"
    }
    assert bytes(payload) == b"".join(buffers)


def test_frames_follow_one_another_on_one_stream():
    stream = io.BytesIO()
    for number in range(3):
        write_frame(stream, {"type": "note", "id": number}, [bytes([10, number])])
    stream.seek(0)
    assert [(read_frame(stream)[0]["id"]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(PipeClosed):
        read_frame(stream)


def test_a_stream_that_takes_only_a_part_gets_the_rest_too():
    class Narrow(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data)[:7])

    stream = Narrow()
    write_frame(stream, {"type": "note"}, [b"x" * 100])
    assert bytes(read_frame(io.BytesIO(stream.getvalue()))[1]) == b"x" * 100


def test_numpy_values_and_paths_in_a_header_become_plain(tmp_path):
    fields = {
        "a": np.float32(0.5),
        "b": np.arange(3),
        "c": tmp_path,
        "d": {1, 2},
        "e": SliceScore(1, 2.0, (0, 0, 0), 1),
    }
    header, _ = through_a_frame({"type": "note", **fields})
    assert (header["a"], header["b"], header["c"], header["d"]) == (0.5, [0, 1, 2], str(tmp_path), [1, 2])
    assert header["e"]["expected_wrong_area_mm2"] == 2.0


def test_an_empty_image_and_a_single_component_vector_keep_their_kind():
    sent = {"empty": sitk.Image([3, 0, 2], sitk.sitkInt16), "vector": sitk.Image([3, 2], sitk.sitkVectorFloat32, 1)}
    arrived = send_images(sent)
    assert arrived["empty"].GetSize() == (3, 0, 2)
    assert arrived["vector"].GetPixelID() == sitk.sitkVectorFloat32


def test_packing_an_image_does_not_copy_its_pixels():
    image = sitk.Image([64, 64, 8], sitk.sitkFloat32)
    address = sitk.GetArrayViewFromImage(image).__array_interface__["data"][0]
    _, (buffer,) = pack_images({"image": image})
    assert buffer.__array_interface__["data"][0] == address


@pytest.mark.parametrize("components", [(), (3,)])
def test_a_raster_arrives_as_an_image_and_as_a_raster(components):
    voxels = np.random.default_rng(0).random((2, 3, 4, *components), np.float32)
    sent = Raster(voxels, (1.5, 1.5, 8.0), (1.0, 2.0, 3.0), (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    specs, (buffer,) = pack_images({"cine": sent})
    assert np.shares_memory(buffer, voxels)
    image, raster = (unpack_images(specs, buffer, rasters=rasters)["cine"] for rasters in (False, True))
    assert np.array_equal(sitk.GetArrayFromImage(image), voxels)
    assert np.shares_memory(raster.voxels, voxels)
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection", "GetNumberOfComponentsPerPixel"):
        assert getattr(raster, get)() == getattr(image, get)() == getattr(sent, get)()


def test_numbers_that_come_at_an_odd_place_are_moved_to_where_they_can_be_read():
    small, large = Raster(np.ones((1, 1, 3), "u1"), (1, 1, 1)), Raster(np.ones((1, 1, 3), "f4"), (1, 1, 1))
    specs, buffers = pack_images({"labels": small, "map": large})
    arrived = unpack_images(specs, b"".join(buffers), rasters=True)
    assert arrived["map"].voxels.flags.aligned
    assert (arrived["map"].voxels == 1).all()


def test_packed_bytes_outlive_the_image_and_do_not_follow_its_changes():
    image = sitk.Image([64, 64, 8], sitk.sitkInt16) + 7
    _, (buffer,) = pack_images({"image": image})
    image[0, 0, 0] = 99
    image += 5
    del image
    others = [sitk.Image([64, 64, 8], sitk.sitkInt16) + 3 for _ in range(20)]  # would take over freed memory
    assert len(others) == 20
    assert set(buffer.view(np.int16)) == {7}


def test_a_label_map_object_is_refused_by_name():
    with pytest.raises(InputError, match="'organs' is a label"):
        pack_images({"organs": sitk.Image([3, 3, 3], sitk.sitkLabelUInt8)})


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last):\n",
        b"\x00\xff\xfe\n",
        b"\n",
        b"[1, 2]\n",
        b"7\n",
        b"[" * 5000 + b"\n",
        b"9" * 9000 + b"\n",
        frame(type="note"),
        frame(bytes=0),
        frame(type=3, bytes=0),
        frame(type="note", bytes=-1),
        frame(type="note", bytes=True),
        frame(type="note", bytes=1.0),
        frame(type="note", bytes="12"),
        b"no line end",
    ],
)
def test_what_is_no_frame_is_shown_in_the_error(line):
    with pytest.raises(WorkerError) as caught:
        read_frame(io.BytesIO(line))
    assert repr(line[:80]) in str(caught.value)
    assert not isinstance(caught.value, PipeClosed)


def test_a_line_without_end_is_refused_after_the_limit():
    stream = io.BytesIO(b"{" * (3 * protocol.HEADER_LIMIT))
    with pytest.raises(WorkerError, match="no frame"):
        read_frame(stream)
    assert stream.tell() == protocol.HEADER_LIMIT + 1


@pytest.mark.parametrize("count", [protocol.PAYLOAD_LIMIT + 1, 10**30])
def test_a_huge_announced_size_is_refused_before_memory_is_taken(count, monkeypatch):
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("allocated"))
    with pytest.raises(WorkerError, match=f"announces {count} bytes; at most {protocol.PAYLOAD_LIMIT}"):
        read_frame(io.BytesIO(frame(type="note", bytes=count)))


def test_the_size_limit_can_be_set():
    with pytest.raises(WorkerError, match="announces 11 bytes; at most 10"):
        read_frame(io.BytesIO(frame(type="note", bytes=11) + b"x" * 11), limit=10)


@pytest.mark.parametrize("kept", [0, 5, -1, -4])
def test_a_stream_that_ends_is_told_apart_from_garbage(kept):
    whole = frame(type="note", bytes=4) + b"abcd"
    with pytest.raises(PipeClosed):
        read_frame(io.BytesIO(whole[:kept]))


def test_a_header_that_is_too_long_is_refused_before_anything_is_written():
    stream = io.BytesIO()
    with pytest.raises(WorkerError, match="at most"):
        write_frame(stream, {"type": "note", "text": "x" * protocol.HEADER_LIMIT})
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "object"},
        {"dtype": "<f4"},
        {"dtype": ["uint8"]},
        {"shape": [2, 3, 5]},
        {"shape": [2, 3, 3]},
        {"shape": [2**40, 2**40, 2**40]},
        {"shape": [-2, -3, 4]},
        {"shape": [24]},
        {"shape": 24},
        {"shape": None},
        {"components": 2},
        {"components": "1"},
        {"spacing": [1.0, 1.0]},
        {"spacing": [1.0, 0.0, 1.0]},
        {"origin": "here"},
        {"direction": [0.0] * 9},
    ],
)
def test_an_image_described_wrongly_is_refused(change):
    (spec,), (buffer,) = pack_images({"image": sitk.Image([4, 3, 2], sitk.sitkUInt8)})
    with pytest.raises(WorkerError):
        unpack_images([{**spec, **change}], bytes(buffer))
    assert unpack_images([spec], bytes(buffer))


@pytest.mark.parametrize("missing", ["name", "dtype", "shape", "components", "spacing", "origin", "direction"])
def test_an_image_description_with_a_part_missing_is_refused(missing):
    (spec,), (buffer,) = pack_images({"image": sitk.Image([4, 3, 2], sitk.sitkUInt8)})
    del spec[missing]
    with pytest.raises(WorkerError, match=missing):
        unpack_images([spec], bytes(buffer))


def a_result(probabilities):
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((2, 3, 4), np.float32))
    image.SetSpacing((1.1, 1.3, 8.7))
    return Result(
        labels=sitk.Cast(image > 0.5, sitk.sitkUInt8),
        error_probability=image,
        entropy=image * 2,
        mutual_information=image / 3,
        probabilities=sitk.Compose(image, 1 - image) if probabilities else None,
        slice_axis=2,
        slices=(SliceScore(0, 1 / 3, (0.1, -0.2, 1e-300), 2, (1.5, 2.5)), SliceScore(1, 2.0, (1.0, 2.0, 3.0), 1)),
        structures=(StructureVolume(1, "Ventricle \u00e9", 1.0, 1.1, 0.9, math.pi),),
        case_quality=0.1 + 0.2,
        warnings=("Slices are 1 mm apart.",),
        provenance={"model": "cardiac-lv", "seconds": np.float64(1.25)},
    )


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_result_arrives_whole(probabilities):
    sent = a_result(probabilities)
    fields, images = protocol.pack_result(sent)
    specs, buffers = pack_images(images)
    header, payload = through_a_frame({"type": "result", "result": fields, "images": specs}, buffers)
    arrived = protocol.unpack_result(header["result"], unpack_images(header["images"], payload))
    assert vars(arrived).keys() == vars(sent).keys()
    for name, value in vars(sent).items():
        if isinstance(value, sitk.Image):
            assert everything_of(getattr(arrived, name)) == everything_of(value), name
        else:
            assert getattr(arrived, name) == value, name
    assert [score.index for score in arrived.ranked_slices()] == [1, 0]


@pytest.mark.parametrize("missing", ["slices", "case_quality", "entropy"])
def test_a_result_with_a_part_missing_says_so(missing):
    fields, images = protocol.pack_result(a_result(False))
    fields.pop(missing, None)
    images.pop(missing, None)
    with pytest.raises(WorkerError, match=f"incomplete.*{missing}"):
        protocol.unpack_result(fields, images)


@pytest.mark.parametrize(
    "options",
    [Options(), Options(7, 2**63 - 1, "cuda:1", "k", ((-1.5, 0.1, 2.0), (3.0, 4.0, 5.0)), keep_probabilities=True)],
)
def test_options_arrive_as_they_were(options):
    header, _ = through_a_frame({"type": "segment", "options": protocol.pack_options(options)})
    assert protocol.unpack_options(header["options"]) == options


def test_options_left_out_have_their_defaults():
    assert protocol.unpack_options({"samples": 5}) == Options(samples=5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"smaples": 5}, "The options' field 'smaples' is not known; there are samples"),
        ({"samples": "many"}, "whole number from 1 to 1000"),
        ({"region": [1, 2]}, "two corners"),
        ({"region": [[1, 2, 3]]}, "two corners"),
        ({"region": [[1, 2, "x"], [1, 2, 3]]}, "two corners"),
    ],
)
def test_options_that_cannot_be_used_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        protocol.unpack_options(fields)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_arrives_as_the_class_of_its_kind(kind):
    arrived = protocol.unpack_error(protocol.pack_error(ERRORS[kind]("What happened."), "Traceback"))
    assert type(arrived) is ERRORS[kind]
    assert (str(arrived), arrived.detail) == ("What happened.", "Traceback")


def test_an_error_of_an_unknown_kind_is_still_an_error():
    assert type(protocol.unpack_error({"kind": "new", "message": "Something."})) is CSAMError
    assert not isinstance(protocol.unpack_error({"kind": "new"}), Cancelled)
