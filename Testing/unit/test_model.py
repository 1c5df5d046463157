"""Models on disk: what is written is what is read, and nothing in a strange file is believed."""

import copy
import hashlib
import io
import json
import pickle
import re
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from unit import small

import csam.model
from csam.errors import ModelError
from csam.model import Calibration, Label, Measure, Model, Weights
from csam.network.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.result import Options

TERMS = {"category": ("SCT", "123037004", "Anatomical Structure"), "type": ("SCT", "41216001", "Prostate")}


def full_model(net=None):
    """A model in which every field says something."""
    return small.model(
        net,
        labels=(Label(1, "one", (1, 2, 3), TERMS, connected=True, inside=2), Label(2, "zwei", (4, 5, 6), slices_of=1)),
        calibration=Calibration(((0.0, 0.0), (0.5, 0.25), (1.0, 1.0)), {1: 1.5, 2: 0.75}, figure_scale={"EF": 0.5}),
        augmented_calibration=Calibration(((0.0, 0.0), (0.4, 0.3), (1.0, 1.0)), {1: 1.25, 2: 0.5}, keeps_peaks=False),
        measures=(
            Measure("ventricular function", {"cavity": 1, "myocardium": 2}),
            Measure("volume density", {"structure": 2}, "PSA", "ng/ml"),
        ),
        licence="CC0-1.0",
        slice_axis="axial",
        provenance={"data": "Bälle", "plan": {"steps": 3}},
        metrics={"dice_mean": 0.9},
    )


def test_the_digest_is_of_all_that_a_result_depends_on_and_of_nothing_else(folder):
    model = Model.load(folder)
    assert model.digest == full_model().digest
    words = dict.fromkeys(("version", "title", "about", "licence"), "other")
    assert replace(model, **words, metrics={}, provenance={}).digest == model.digest
    changes = (
        {"sha256": "0" * 64},
        {"calibration": model.augmented_calibration},
        {"augmented_calibration": model.calibration},
        {"contour_shift": {1: 0.5}},
        {"labels": (replace(model.labels[0], connected=False), model.labels[1])},
    )
    digests = {replace(model, **change).digest for change in changes}
    assert len(digests - {model.digest}) == len(changes)


@pytest.fixture
def folder(tmp_path):
    full_model().save(tmp_path / "m")
    return tmp_path / "m"


def rewrite(folder: Path, change) -> Path:
    """The model.json after ``change`` has been applied to its values."""
    values = json.loads((folder / "model.json").read_text())
    change(values)
    (folder / "model.json").write_text(json.dumps(values))
    return folder


def set_weights(folder: Path, data: bytes) -> Path:
    """Other weights, with the SHA-256 that belongs to them."""
    (folder / "weights.pt").write_bytes(data)
    return rewrite(folder, lambda values: values.update(sha256=hashlib.sha256(data).hexdigest()))


def saved(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("place", ["folder", "folder/model.json", "model.zip"])
@pytest.mark.parametrize("kind", [CSAMUNet, CSAMUNetPlusPlus])
@torch.no_grad()
def test_a_model_comes_back_as_it_was_saved(tmp_path, kind, place):
    net = small.network(kind)
    model = full_model(net)
    model.save(tmp_path / place.split("/")[0])
    found = Model.load(tmp_path / place)
    assert found == model
    assert found.description() == model.description()
    x = torch.randn(5, 1, 8, 8)
    assert torch.equal(found.network()(x), model.network()(x))
    torch.testing.assert_close(found.network()(x), net(x), atol=0.05, rtol=0.05)  # kept in half precision
    assert found.network() is found.network()
    assert not found.network().training


def test_a_zip_may_hold_the_model_in_one_folder(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("model.json", "weights.pt"):
            archive.write(folder / name, f"small/{name}")
    assert Model.load(tmp_path / "m.zip") == Model.load(folder)
    assert Model.load(tmp_path / "m.zip").network() is not None


def test_reading_a_model_needs_no_torch(folder):
    program = f"import sys; sys.modules['torch'] = None; sys.path.insert(0, {str(Path(csam.__file__).parents[1])!r})\n"
    program += f"from csam.model import Model; print(Model.load({str(folder)!r}).description()['title'])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "Small model"


MALFORMED = {
    "format": ("format", 3),
    "no format": ("format", None),
    "no name": ("name", None),
    "title": ("title", 5),
    "long version": ("version", "1" * 200),
    "network": ("architecture.network", "ResNet"),
    "levels": ("architecture.num_levels", 9),
    "one level": ("architecture.num_levels", 1),
    "base": ("architecture.base_channels", 10**12),
    "slices": ("architecture.num_slices", 0),
    "slices as text": ("architecture.num_slices", "5"),
    "classes": ("architecture.num_classes", 100_000),
    "rank": ("architecture.rank", 1.5),
    "input channels": ("architecture.input_channels", -1),
    "switch": ("architecture.uncertainty", 1),
    "architecture": ("architecture", [1, 2]),
    "no channels": ("channels", []),
    "two channels": ("channels", [{"name": "a", "modality": "MR"}] * 2),
    "channel name": ("channels.0.name", 3),
    "modality": ("channels.0.modality", "M" * 17),
    "labels": ("labels", "prostate"),
    "a label twice": ("labels.1.value", 1),
    "label value": ("labels.0.value", 3),
    "label name": ("labels.0.name", None),
    "color": ("labels.0.color", [1, 2]),
    "color range": ("labels.1.color", [1, 2, 256]),
    "terminology": ("labels.0.terminology", "SCT"),
    "terminology type": ("labels.0.terminology.type", ["SCT", 1, "Prostate"]),
    "connected": ("labels.0.connected", 1),
    "inside of nothing": ("labels.0.inside", 3),
    "inside itself": ("labels.0.inside", 1),
    "spacing": ("in_plane_spacing", 0),
    "spacing not a number": ("in_plane_spacing", float("nan")),
    "spacing beyond floats": ("in_plane_spacing", 10**400),
    "field of view": ("field_of_view", [16]),
    "odd field of view": ("field_of_view", [16, 15]),
    "one pixel deep": ("field_of_view", [2, 2]),
    "huge field of view": ("field_of_view", [16, 2**20]),
    "slice axis": ("slice_axis", "k"),
    "scope": ("intensity.scope", "patient"),
    "lower": ("intensity.lower", 99.9),
    "trained on": ("trained_on.slice_spacing", [1]),
    "patients": ("trained_on.patients", -1),
    "volumes": ("trained_on.volumes_ml", {"1": [3, "large"]}),
    "error map": ("calibration.error_map", [[0, 0]]),
    "error map above 1": ("calibration.error_map.1", [0.5, 1.2]),
    "falling error map": ("calibration.error_map", [[0, 0.5], [1, 0.1]]),
    "volume scale": ("calibration.volume_scale.1", -1),
    "licence": ("licence", 1),
    "provenance": ("provenance", []),
    "training patients": ("provenance", {"training_patients": 5}),
    "further data": ("provenance", {"extra_data": [1]}),
    "plan": ("provenance", {"plan": [1]}),
    "patient pattern": ("provenance", {"plan": {"patient_pattern": 5}}),
    "ancestor": ("provenance", {"started_from": {"provenance": {"training_patients": "all"}}}),
    "metrics": ("metrics", []),
    "note": ("metrics", {"note": 5}),
    "figures": ("metrics", {"validation": {"dice": {"a": [1]}}}),
    "cases": ("metrics", {"cases": {"a": None}}),
    "a number beyond floats": ("metrics", {"cases": {"a": 10**400}}),
    "half a character": ("title", "\ud800"),
    "half a character far down": ("provenance", {"mine": [{"by": "\udfff"}]}),
    "sha": ("sha256", None),
}


@pytest.mark.parametrize(("place", "value"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_field_is_refused_by_name(folder, place, value):
    def change(values):
        *parents, last = (int(part) if part.isdigit() and part != "1" else part for part in place.split("."))
        for parent in parents:
            values = values[int(parent) if isinstance(values, list) else parent]
        last = int(last) if isinstance(values, list) else last
        if value is None:
            del values[last]
        else:
            values[last] = copy.deepcopy(value)

    with pytest.raises(ModelError) as caught:
        Model.load(rewrite(folder, change))
    names = [part for part in place.split(".") if not part.isdigit()]
    assert names[-1] in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_window_beyond_any_memory_is_refused(folder):
    def change(values):
        values["architecture"]["num_slices"], values["field_of_view"] = 256, [2048, 2048]
        values["architecture"]["num_classes"] = 5

    with pytest.raises(ModelError, match="together need too much memory"):
        Model.load(rewrite(folder, change))


def test_every_field_of_the_json_is_checked(folder):
    """Each field replaced by something of another type: refused, or without any part in what is computed."""
    values = json.loads((folder / "model.json").read_text())
    for name in values:
        rewrite(folder, lambda v, name=name: v.update({name: {"odd": 1} if isinstance(v[name], list) else ["odd"]}))
        with pytest.raises(ModelError, match=name):
            Model.load(folder)
        (folder / "model.json").write_text(json.dumps(values))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'"model"', b"1" * 5000])
def test_garbage_for_json_is_refused_in_words(folder, text):
    (folder / "model.json").write_bytes(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        Model.load(folder)


def test_a_json_beyond_the_limit_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("csam.model.weights.JSON_LIMIT", 1000)
    with pytest.raises(ModelError, match="at most 1000 are read"):
        Model.load(folder)


def test_weights_beyond_the_limit_are_not_read(folder, monkeypatch):
    monkeypatch.setattr("csam.model.weights.WEIGHTS_LIMIT", 1000)
    with pytest.raises(ModelError, match="at most 1000 are read"):
        Model.load(folder).network()


def test_what_is_not_there_is_said(tmp_path, folder):
    with pytest.raises(ModelError, match="no model at"):
        Model.load(tmp_path / "nowhere")
    (folder / "weights.pt").unlink()
    with pytest.raises(ModelError, match=r"has no weights\.pt"):
        Model.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError):
        Model.load(tmp_path / "empty")


def test_damaged_weights_are_told_by_their_hash(folder):
    data = bytearray((folder / "weights.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "weights.pt").write_bytes(data)
    with pytest.raises(ModelError, match="damaged: their SHA-256"):
        Model.load(folder).network()


class Exploit:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path(__import__('os').environ['CSAM_EXPLOIT']).touch()",))


@pytest.mark.parametrize("form", ["pickle", "torch file", "among tensors"])
def test_weights_that_carry_code_are_refused_and_the_code_does_not_run(folder, tmp_path, monkeypatch, form):
    monkeypatch.setenv("CSAM_EXPLOIT", str(tmp_path / "it_ran"))
    state = small.network().state_dict()
    data = {
        "pickle": lambda: pickle.dumps(Exploit()),
        "torch file": lambda: saved(Exploit()),
        "among tensors": lambda: saved({**state, "odd": Exploit()}),
    }[form]()
    with pytest.raises(ModelError, match="cannot be read as a plain state dict") as caught:
        Model.load(set_weights(folder, data)).network()
    assert not (tmp_path / "it_ran").exists()
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [[1, 2], {"a": 1}, {"model": {"a": torch.zeros(1)}}, torch.zeros(3)],
    ids=["list", "number", "nested", "tensor"],
)
def test_weights_that_are_no_plain_state_dict_are_refused(folder, state):
    with pytest.raises(ModelError, match="not a plain state dict"):
        Model.load(set_weights(folder, saved(state))).network()


def test_a_view_that_claims_more_than_the_file_holds_is_refused(folder):
    state = dict(full_model().network().state_dict())
    name = "encoder.conv.0.conv.0.weight"
    state[name] = torch.zeros(1).as_strided((4, 1, 3000, 3000), (0, 0, 0, 0))
    with pytest.raises(ModelError, match="larger than the file holds"):
        Model.load(set_weights(folder, saved(state))).network()


def test_many_tensors_of_one_storage_are_refused_beyond_the_limit(folder, monkeypatch):
    one = torch.zeros(100_000)
    data = saved({f"layer{i}": one for i in range(50)})
    monkeypatch.setattr("csam.model.weights.WEIGHTS_LIMIT", 10_000_000)
    with pytest.raises(ModelError, match="larger than the file holds"):
        Model.load(set_weights(folder, data)).network()


def test_weights_that_are_not_finite_are_refused(folder):
    state = dict(full_model().network().state_dict())
    state["conv_final.bias"] = torch.full((3,), float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        Model.load(set_weights(folder, saved(state))).network()


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_levels", 3), ("base_channels", 8), ("num_slices", 6), ("rank", 4), ("semantic", False), ("slice", False)],
)
def test_an_architecture_that_is_not_that_of_the_weights_is_named(folder, field, value):
    rewrite(folder, lambda values: values["architecture"].update({field: value}))
    with pytest.raises(ModelError, match=rf"architecture\.{field}") as caught:
        Model.load(folder).network()
    assert str(value) in str(caught.value)


@pytest.mark.parametrize("switches", [{"slice": False}, {"uncertainty": False}, {"slice": False, "uncertainty": False}])
def test_what_no_tensor_tells_is_taken_from_the_json(tmp_path, switches):
    model = small.model(small.network(num_slices=7, rank=3, **switches))
    model.save(tmp_path / "m")
    assert Model.load(tmp_path / "m").network().architecture == model.architecture


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_the_largest_architecture_is_refused_before_it_is_allocated(folder):
    """Base 256 and 8 levels would take some 100 GB; the weights only pretend."""
    state = {f"encoder.conv.{level}.conv.0.weight": torch.zeros(256, 1) for level in range(8)}
    state |= {"conv_final.weight": torch.zeros(3, 1), "encoder.attentions.0.positional_att.conv.weight": torch.zeros(1)}
    rewrite(
        folder,
        lambda values: values["architecture"].update(num_levels=8, base_channels=256, semantic=False, slice=False),
    )
    rewrite(folder, lambda values: values.update(field_of_view=[256, 256]))
    with at_most(4 * 2**30), pytest.raises(ModelError, match="do not fit"):
        Model.load(set_weights(folder, saved(state))).network()


@contextmanager
def at_most(more: int):
    """Only so many bytes more for this process, so that a test which fails does not take the machine with it."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def members(folder):
    return [(name, (folder / name).read_bytes()) for name in ("weights.pt", "model.json")]


@pytest.mark.parametrize("above", ["", "out/", "mine/out/", "out\\\\"])
def test_a_zip_of_a_trainings_folder_is_the_model_in_it(tmp_path, folder, above):
    step = "\\" if "\\" in above else "/"  # old programs for Windows write the former
    inside = [(f"{above}model{step}{name}", data) for name, data in members(folder)]
    path = write_zip(tmp_path / "m.zip", [(f"{above}plan.json", "{}"), *inside, (f"{above}log.csv", "step")])
    assert Model.load(path) == Model.load(folder)
    assert Model.load(path).network() is not None


def test_the_folder_of_a_training_is_as_good_as_the_model_in_it(tmp_path, folder):
    Model.load(folder).save(tmp_path / "out" / "model")
    assert Model.load(tmp_path / "out") == Model.load(folder)


def test_of_a_cross_validation_the_assessed_model_is_taken_and_of_other_models_none(tmp_path, folder):
    def packed(*places):
        return write_zip(tmp_path / "m.zip", [(place + name, d) for place in places for name, d in members(folder)])

    parts = ("out/all/model/", "out/fold-0/model/", "out/fold-1/model/")
    assert Model.load(packed(*parts, "out/model/")).weights.member == "out/model/weights.pt"
    with pytest.raises(ModelError, match=r"holds 3 models: out/all/model/model.json, out/fold-0/.*one of them alone"):
        Model.load(packed(*parts))
    with pytest.raises(ModelError, match=r"holds 2 models: mine/model.json, out/model/model.json\."):
        Model.load(packed("mine/", "out/model/"))
    with pytest.raises(ModelError, match=r"holds no model.json\. Give a zip of the folder"):
        Model.load(write_zip(tmp_path / "m.zip", [("out/plan.json", "{}")]))


def test_a_zip_writes_nothing_anywhere(tmp_path, folder):
    before = None
    path = write_zip(tmp_path / "m.zip", [*members(folder), ("../escaped.txt", "x"), ("/tmp/escaped.txt", "x")])
    before = sorted(tmp_path.rglob("*"))
    Model.load(path).network()
    assert sorted(tmp_path.rglob("*")) == before
    path = write_zip(tmp_path / "m.zip", [("../" + name, data) for name, data in members(folder)])
    Model.load(path).network()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("member", ["model.json", "weights.pt"])
def test_a_zip_cannot_expand_without_bound(tmp_path, folder, monkeypatch, member):
    monkeypatch.setattr("csam.model.weights.JSON_LIMIT", 100_000)
    monkeypatch.setattr("csam.model.weights.WEIGHTS_LIMIT", 100_000)
    changed = [(name, b" " * 10**7 if name == member else data) for name, data in members(folder)]
    with pytest.raises(ModelError, match="at most 100000 are read"):
        Model.load(write_zip(tmp_path / "m.zip", changed)).network()


def test_a_zip_that_lies_about_a_size_reads_no_further_than_the_limit(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("csam.model.weights.JSON_LIMIT", 100_000)
    path = write_zip(tmp_path / "m.zip", [("weights.pt", b"w"), ("model.json", b" " * 10**7)])
    data = path.read_bytes()
    assert data.count((10**7).to_bytes(4, "little")) == 2  # in the member's header and in the directory
    path.write_bytes(data.replace((10**7).to_bytes(4, "little"), (500).to_bytes(4, "little")))
    with pytest.raises(ModelError):
        Model.load(path)


@pytest.mark.parametrize("fault", ["no zip", "two models", "no weights", "cut off", "damaged"])
def test_a_zip_that_is_no_model_is_refused_in_words(tmp_path, folder, fault):
    path = write_zip(tmp_path / "m.zip", members(folder))
    data = path.read_bytes()
    if fault == "no zip":
        path.write_bytes(b"not a zip")
    elif fault == "two models":
        write_zip(path, [*members(folder), ("other/model.json", "{}")])
    elif fault == "no weights":
        write_zip(path, members(folder)[1:])
    elif fault == "cut off":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = data.index(b"model.json") + 60
        path.write_bytes(data[:middle] + bytes(40) + data[middle + 40 :])
    with pytest.raises(ModelError):
        Model.load(path)


def test_a_damaged_member_of_a_zip_is_one_clear_error(tmp_path, folder):
    path = write_zip(tmp_path / "m.zip", members(folder))
    model = Model.load(path)
    data = bytearray(path.read_bytes())
    data[100:140] = b"\xff" * 40  # inside the compressed weights
    path.write_bytes(data)
    with pytest.raises(ModelError, match="cannot be read"):
        model.network()


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match="field_of_view"):
        small.model(field_of_view=(16, 17)).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_description_is_plain_json_and_says_nothing_of_this_machine(folder):
    model = Model.load(folder)
    assert json.loads(json.dumps(model.description())) == model.description()
    assert str(folder.parent) not in json.dumps(model.description())


def test_in_memory_weights_are_read_from_memory():
    model = small.model()
    assert model.weights.path is None
    assert replace(model, weights=Weights(data=b"odd")).weights.read() == b"odd"
    assert np.isfinite(model.network().conv_final.weight.detach().numpy()).all()


@pytest.mark.parametrize("free", [False, True])
def test_the_calibration_of_an_older_model_is_that_of_the_runs_it_was_measured_with(tmp_path, free):
    """Before format 2 a model that was taught several orientations ran in all of them."""
    small.model(calibration=Calibration(dice_scale=2.0), free_orientation=free).save(tmp_path)
    values = json.loads((tmp_path / "model.json").read_text()) | {"format": 1}
    del values["augmented_calibration"]
    (tmp_path / "model.json").write_text(json.dumps(values))
    model = Model.load(tmp_path)
    assert model.calibration.dice_scale == (1.0 if free else 2.0)
    assert model.augmented_calibration.dice_scale == (2.0 if free else 1.0)
    assert model.calibration_for(Options(test_time_augmentation=True)).dice_scale == 2.0


def test_an_error_map_that_was_measured_on_smoothed_probabilities_is_still_given_these(folder):
    def older(values):
        for name in ("calibration", "augmented_calibration"):
            del values[name]["keeps_peaks"]

    model = Model.load(rewrite(folder, older))
    assert not model.calibration.keeps_peaks
    assert not model.uncalibrated().calibration.keeps_peaks

    def never_calibrated(values):
        values["calibration"]["error_map"] = [[0, 0], [1, 1]]

    assert Model.load(rewrite(folder, never_calibrated)).calibration.keeps_peaks


def test_a_model_from_before_there_were_measures_offers_none(folder):
    def before(values):
        del values["measures"]
        for name in ("calibration", "augmented_calibration"):
            del values[name]["figure_scale"]

    model = Model.load(rewrite(folder, before))
    assert model.measures == ()
    assert model.calibration.figure_scale == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "heart function"}, "kind is 'heart function'; one of ventricular function, volume density"),
        ({"structures": {"myocardium": 2}}, "the field cavity is missing"),
        ({"structures": {"cavity": 3}}, "the field cavity is 3; a whole number from 1 to 2"),
        ({"structures": {"cavity": 1, "muscle": 2}}, "ventricular function has no 'muscle', but cavity, myocardium"),
    ],
)
def test_a_measure_that_cannot_be_computed_is_refused_by_name(folder, change, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        Model.load(rewrite(folder, lambda values: values["measures"][0].update(change)))
