"""csam segment FOLDER: every case, each result whole or not at all, faults named, worst first; csam cohort."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.batch import run as batch_run
from csam.batch import saved
from csam.batch.cohort import in_csv, in_text, summed_up
from csam.batch.folder import QUALITY, THUMBNAIL, BatchFolder
from csam.batch.next_case import next_case, worth_drawing
from csam.batch.pages import Pages, page, table
from csam.batch.row import DONE, FAULT, WAITING, Row, unpack_row, worst_first
from csam.batch.run import Batch, one_by_one
from csam.batch.saved import read_result
from csam.batch.session import Session
from csam.cli import main
from csam.errors import DeviceLost, InputError
from csam.image import files
from csam.image.fingerprint import fingerprint
from csam.model import Calibration
from csam.result import Options, StructureVolume


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    small.model().save(path)
    return str(path)


@pytest.fixture
def scans(tmp_path):
    """Three whole images and one that is cut short."""
    folder = tmp_path / "cases"
    folder.mkdir()
    for number in range(3):
        sitk.WriteImage(small.image(seed=number), str(folder / f"scan{number}.nii.gz"))
    whole = (folder / "scan0.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def counted(monkeypatch):
    """The first values of the images that have been segmented."""
    import csam.pipeline.segment as pipeline

    seen, segment = [], pipeline.segment

    def counting(images, *arguments, **more):
        seen.append(sitk.GetArrayViewFromImage(images[0]).flat[0].item())
        return segment(images, *arguments, **more)

    monkeypatch.setattr(pipeline, "segment", counting)
    return seen


def segment(scans, out, model, *more):
    line = ["segment", str(scans), "--out", str(out), "--model", model, "--samples", "1", "--device", "cpu"]
    return main([*line, *more])


def cells(out):
    return [*csv.DictReader((out / "cases.csv").read_text(encoding="utf-8").splitlines())]


def test_a_folder_gives_a_result_a_case_a_named_fault_and_a_table_worst_first(scans, tmp_path, model, capsys):
    out = tmp_path / "out"
    assert segment(scans, out, model) == 0
    said = capsys.readouterr().out
    assert "3 results, 1 fault." in said
    assert "cut failed: cut.nii.gz is incomplete or damaged" in said
    rows = cells(out)
    assert [row["state"] for row in rows] == ["fault", "done", "done", "done"]
    assert "is incomplete or damaged" in rows[0]["fault"]
    dice = [float(row["expected_dice"] or 0) for row in rows[1:]]
    assert dice == sorted(dice)
    for row in rows[1:]:
        result = read_result(out / "cases" / row["case"])
        assert float(row["structure 1 ml"]) == pytest.approx(result.structures[0].volume_ml, abs=0.01)
        assert result.labels.GetSize() == (20, 18, 6)
    assert not [*(out / "cases").glob(".*")]


def test_a_batch_gives_what_single_runs_give(scans, tmp_path, model):
    segment(scans, tmp_path / "out", model)
    single = ["segment", str(scans / "scan1.nii.gz"), "--out", str(tmp_path / "one"), "--model", model]
    assert main([*single, "--samples", "1", "--device", "cpu"]) == 0
    for name in ("labels", "error_probability", "entropy", "mutual_information"):
        paths = (tmp_path / "out" / "cases" / "scan1" / f"{name}.nrrd", tmp_path / "one" / f"{name}.nrrd")
        np.testing.assert_array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in paths))


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(scans, tmp_path, model, counted, capsys):
    segment(scans, tmp_path / "out", model)
    assert len(counted) == 3
    sitk.WriteImage(small.image(seed=9), str(scans / "cut.nii.gz"))
    segment(scans, tmp_path / "out", model)
    assert len(counted) == 4
    assert "3 of 4 cases are done already." in capsys.readouterr().out
    assert [row["state"] for row in cells(tmp_path / "out")] == ["done"] * 4


def test_an_image_that_has_changed_is_segmented_anew_and_a_fault_whose_file_has_gone_goes(
    scans, tmp_path, model, counted
):
    segment(scans, tmp_path / "out", model)
    sitk.WriteImage(small.image(seed=9), str(scans / "scan1.nii.gz"))
    (scans / "cut.nii.gz").unlink()
    before = (tmp_path / "out" / "cases" / "scan1" / "labels.nrrd").read_bytes()
    segment(scans, tmp_path / "out", model)
    assert len(counted) == 4
    assert (tmp_path / "out" / "cases" / "scan1" / "labels.nrrd").read_bytes() != before
    assert [row["case"] for row in cells(tmp_path / "out") if row["state"] == "fault"] == []


class Killed(BaseException):
    """Instead of kill -9: nothing in the program catches it."""


@pytest.mark.parametrize("at", ["labels.nrrd", "mutual_information.nrrd", "report.json", "the move", "the second move"])
def test_a_batch_that_is_killed_anywhere_loses_and_repeats_nothing(scans, tmp_path, model, counted, monkeypatch, at):
    out = tmp_path / "out"
    if at == "the second move":  # a result of an image that has changed is put aside first
        segment(scans, out, model)
        sitk.WriteImage(small.image(seed=9), str(scans / "scan1.nii.gz"))
    before = len(counted)
    write, move = files.write_image, files.replace_file

    def killed_in_writing(image, path, **more):
        if path.name == at and len(counted) == before + 2:
            path.write_bytes(b"half")
            raise Killed
        write(image, path, **more)

    def killed_in_moving(source, target):
        if "move" in at and target.name == "scan1":
            raise Killed
        move(source, target)

    monkeypatch.setattr(files, "write_image", killed_in_writing)
    monkeypatch.setattr(files, "replace_file", killed_in_moving)
    monkeypatch.setattr("csam.batch.folder.shutil.rmtree", lambda *_, **__: None)  # the dead clear nothing away
    describe = saved.describe

    def killed_in_the_report(result):
        if at == "report.json" and len(counted) == 2:
            raise Killed
        return describe(result)

    monkeypatch.setattr(saved, "describe", killed_in_the_report)
    with pytest.raises(Killed):
        segment(scans, out, model)
    monkeypatch.undo()
    killed = {path.name for path in (out / "cases").glob("[!.]*")}
    assert "scan1" not in killed
    again = []
    monkeypatch.setattr(batch_run, "finish", lambda out, name, *rest: again.append(name) or real(out, name, *rest))
    assert segment(scans, out, model) == 0
    assert again == [name for name in ("scan0", "scan1", "scan2") if name not in killed]
    assert {row["case"]: row["state"] for row in cells(out)} == {"cut": "fault", **dict.fromkeys(NAMES, "done")}
    assert not [*(out / "cases").glob(".*")], "half-written results are cleared away"


NAMES = ("scan0", "scan1", "scan2")
real = batch_run.finish


def test_another_model_other_options_and_another_folder_are_noticed_and_said(scans, tmp_path, model, capsys):
    out = tmp_path / "out"
    segment(scans, out, model)
    other = tmp_path / "other"
    small.model(small.lively(small.network(seed=8)), version="2.0.0").save(other)
    renamed, recalibrated = tmp_path / "renamed", tmp_path / "recalibrated"  # the same weights
    small.model(name="small-2").save(renamed)
    small.model(calibration=Calibration(dice_scale=2.0)).save(recalibrated)
    (tmp_path / "more").mkdir()
    sitk.WriteImage(small.image(), str(tmp_path / "more" / "a.nii"))
    for line, said in (
        ((scans, out, str(other)), "model small 1.2.3, not small 2.0.0"),
        ((scans, out, str(renamed)), "model small 1.2.3, not small-2 1.2.3"),
        ((scans, out, str(recalibrated)), "model small 1.2.3, not another one called small 1.2.3"),
        ((scans, out, model, "--seed", "3"), "seed 0, not 3"),
        ((scans, out, model, "--frame", "0"), "frame None, not 0"),
        ((tmp_path / "more", out, model), "folder "),
    ):
        assert segment(*line) == 2
        error = capsys.readouterr().err
        assert f"{out} holds another batch" in error
        assert said in error


@pytest.mark.parametrize("change", [{"warnings": [["a"]]}, {"case_quality": "good"}, {"structures": [5]}], ids=str)
def test_a_report_that_somebody_has_changed_counts_as_none_and_its_case_is_run_again(
    scans, tmp_path, model, counted, change
):
    out = tmp_path / "study"
    assert segment(scans, out, model) == 0
    report = out / "cases" / "scan1" / "report.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | change))
    assert main(["cohort", str(out)]) == 0
    counted.clear()
    assert segment(scans, out, model) == 0
    assert len(counted) == 1


@pytest.mark.parametrize("field", ["model", "options"])
def test_a_description_that_somebody_has_changed_is_told(scans, tmp_path, model, capsys, field):
    out = tmp_path / "study"
    assert segment(scans, out, model) == 0
    said = json.loads((out / "batch.json").read_text())
    (out / "batch.json").write_text(json.dumps(said | {field: 5}))
    assert segment(scans, out, model) == 2
    assert "batch.json cannot be read (model and options" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cases/scan0/notes.txt", "faults/mine.json", "cases.csv", "index.html"])
def test_files_that_are_no_batchs_are_never_replaced(scans, tmp_path, model, capsys, name):
    mine = tmp_path / "study" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert segment(scans, tmp_path / "study", model) == 2
    assert "exists already and was not written by a batch" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "study" / "batch.json").exists()


def test_results_among_the_cases_and_a_folder_in_use_are_refused(scans, tmp_path, model, capsys):
    for out in (scans, scans / "deep" / "out", scans.parent):
        assert segment(scans, out, model) == 2
        assert "lies in the folder of the cases" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert segment(tmp_path / "empty", tmp_path / "out", model) == 2
    assert not (scans / "deep").exists()
    assert not (tmp_path / "out").exists()
    with BatchFolder(tmp_path / "out").locked():
        assert segment(scans, tmp_path / "out", model) == 2
        assert "Another process is running a batch in" in capsys.readouterr().err
    assert segment(scans, tmp_path / "out", model, "--png", "page.png") == 2
    assert main(["segment", str(scans / "scan0.nii.gz"), "--out", str(tmp_path / "o"), "--scheduler", "tcp://x:1"]) == 2


def test_a_4d_image_of_all_channels_and_channels_by_number_are_the_same_case(tmp_path):
    path = tmp_path / "two"
    small.model(small.lively(small.network(input_channels=2))).save(path)
    scans = tmp_path / "scans"
    scans.mkdir()
    pair = [small.image(), small.image(seed=1)]
    sitk.WriteImage(sitk.JoinSeries(pair), str(scans / "series.nii.gz"))
    for number, image in enumerate(pair):
        sitk.WriteImage(image, str(scans / f"pair_{number:04d}.nii.gz"))
    sitk.WriteImage(pair[0], str(scans / "single.nii.gz"))
    assert segment(scans, tmp_path / "out", str(path)) == 0
    one, other = (read_result(tmp_path / "out" / "cases" / name) for name in ("series", "pair"))
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(result.error_probability) for result in (one, other)))
    [fault] = [row for row in cells(tmp_path / "out") if row["state"] == "fault"]
    assert (fault["case"], fault["fault"][:27]) == ("single", "1 image(s) were given; the ")


def test_what_nobody_foresaw_is_a_fault_with_its_traceback_and_stops_nothing(scans, tmp_path, model, monkeypatch):
    import csam.pipeline.segment as pipeline

    whole, calls = pipeline.segment, []

    def failing(*arguments, **more):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] not enough memory")
        if len(calls) == 2:
            raise ZeroDivisionError("by zero")
        return whole(*arguments, **more)

    monkeypatch.setattr(pipeline, "segment", failing)
    assert segment(scans, tmp_path / "out", model) == 0
    faults = {row["case"]: row["fault"] for row in cells(tmp_path / "out") if row["state"] == "fault"}
    assert faults["scan0"].startswith("There was not enough memory")
    assert faults["scan1"].startswith("Something unexpected went wrong (ZeroDivisionError: by zero)")
    detail = json.loads((tmp_path / "out" / "faults" / "scan1.json").read_text())["detail"]
    assert "Traceback" in detail


def test_a_full_disk_stops_the_batch_in_words_and_blames_no_case(scans, tmp_path, model, monkeypatch, capsys):
    write = files.write_image

    def full(image, path, **more):
        if path.name == "entropy.nrrd":
            raise OSError(28, "No space left on device")
        write(image, path, **more)

    monkeypatch.setattr(files, "write_image", full)
    assert segment(scans, tmp_path / "out", model) == 2
    assert "The results can no longer be written into" in capsys.readouterr().err
    assert {row["case"] for row in cells(tmp_path / "out")} == {"cut"}


def test_a_lost_gpu_is_no_fault_of_a_case(scans, tmp_path, model):
    def lost(images):
        raise DeviceLost("The device cuda:0 failed and does not answer any more.")

    loaded = small.model()
    batch = Batch(str(scans), str(tmp_path / "out"), model, loaded.digest, Options())
    with Session(batch, loaded) as session:
        cases = session.find()
        with pytest.raises(DeviceLost):
            session.run(cases[-1], lost)
        assert session.rows == {}


def test_images_without_a_file_are_kept_beside_their_result_and_done_once(tmp_path, model):
    loaded, runs = small.model(), []
    whole = batch_run.whole_run(loaded, Options(samples=1, device="cpu"))
    batch = Batch("the scene", str(tmp_path / "out"), model, loaded.digest, Options())

    def counting(images):
        runs.append(1)
        return whole(images)

    with Session(batch, loaded) as session:
        first = session.run_images("cine", [small.image()], counting)
        assert session.run_images("cine", [small.image()], counting) == first
        assert len(runs) == 1
        other = session.run_images("cine", [small.image(seed=2)], counting)
        assert (other.state, len(runs)) == (FAULT, 1)
    kept = sitk.ReadImage(str(tmp_path / "out" / "cases" / "cine" / "image_0000.nrrd"))
    np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (kept, small.image())))


def test_a_session_that_cannot_begin_holds_no_lock(scans, tmp_path, model):
    batch = Batch(str(scans), str(scans), model, small.model().digest, Options())
    with pytest.raises(InputError):
        Session(batch, small.model())
    with BatchFolder(scans).locked():
        pass


# Rows, page and cohort ---------------------------------------------------------------------------------------------


def row(case, dice=0.9, ml=100.0, **more):
    structures = (StructureVolume(1, "cavity", ml, ml, 0.9 * ml, 1.1 * ml),)
    return Row(case, DONE, (f"{case}.nii",), structures, dice, 0.5, **more)


ROWS = (
    row("good", 0.95), row("poor", 0.6, 250.0, warnings=("Slices are 12 mm apart; look <here>.",), first_slices=(3, 0)),
    row("empty", 1.0, 0.0), Row("later", WAITING), Row("odd <name>", FAULT, fault="It is cut & gone."),
)  # fmt: skip


def test_the_worst_comes_first_faults_and_empty_results_before_it():
    assert [one.case for one in worst_first(ROWS)] == ["odd <name>", "empty", "poor", "good", "later"]


def test_the_next_case_to_draw_is_one_that_is_not_in_the_data_set_and_was_not_opened():
    rows = [replace(one, fingerprint=f"of {one.case}") for one in ROWS]
    assert [one.case for one in worth_drawing(rows, poorest=True)] == ["empty", "poor", "good"]
    assert next_case(rows, {"p1": "of empty"}, poorest=True) == "poor"
    assert next_case(rows, {"p1": "of empty"}, {"poor"}) == "good"
    assert next_case(rows, {"p1": "of empty", "p2": "of good"}, {"poor"}) is None
    assert next_case(ROWS, {"p1": "of empty"}, poorest=True) == "empty"  # results of an earlier version do not tell
    many = [row(f"case{number}", number / 100) for number in range(60)]
    order = [one.case for one in worth_drawing(many)]
    assert order == [one.case for one in worth_drawing(many[::-1])], "the same order every time"
    places = np.argsort([order.index(one.case) for one in many])
    assert abs(np.corrcoef(places, np.arange(60))[0, 1]) < 0.3, "it has nothing to do with the cases"


def test_a_result_tells_the_fingerprint_of_its_image(scans, tmp_path, model):
    segment(scans, tmp_path / "out", model)
    rows = {one.case: one for one in BatchFolder(tmp_path / "out").rows()}
    assert rows["scan1"].fingerprint == fingerprint([sitk.GetArrayFromImage(small.image(seed=1))])
    assert len({one.fingerprint for one in rows.values()}) == 4  # three, and none of the fault


def test_a_row_survives_json():
    from dataclasses import asdict

    for one in ROWS:
        assert unpack_row(json.loads(json.dumps(asdict(one)))) == one


def test_the_table_has_a_column_a_figure():
    [empty, poor] = [*csv.DictReader(table(worst_first(ROWS)).splitlines())][1:3]
    assert (empty["case"], empty["expected_dice"], empty["cavity ml"]) == ("empty", "", "0.00")
    assert (poor["expected_dice"], poor["cavity low ml"], poor["first_slices"]) == ("0.600", "225.00", "4 1")


def test_the_page_is_whole_in_itself_and_escapes_what_it_shows(scans, tmp_path, model):
    out = BatchFolder(tmp_path / "out")
    segment(scans, out.path, model)
    text = (out.path / "index.html").read_text(encoding="utf-8")
    assert text.count('src="data:image/jpeg;base64,') == 3
    assert "3 results, 1 fault, worst first" in text
    assert '<a href="cases/scan0/">scan0</a>' in text
    text = page(out, ROWS)
    assert "odd &lt;name&gt;" in text
    assert "It is cut &amp; gone." in text
    assert "look &lt;here&gt;." in text
    assert "Begin with the slices 4, 1." in text


def test_the_thumbnail_shows_the_slice_to_look_at_first_with_an_outline(scans, tmp_path, model):
    segment(scans, tmp_path / "out", model)
    image = sitk.ReadImage(str(tmp_path / "out" / "cases" / "scan0" / "thumbnail.jpg"))
    colors = sitk.GetArrayFromImage(image)
    assert max(image.GetSize()) == 144
    assert (colors.max(-1) > colors.min(-1)).any(), "an outline in colour"


def test_a_case_takes_few_bytes_of_the_page_even_where_its_picture_is_noise(tmp_path):
    out = BatchFolder(tmp_path)
    sizes = []
    for name, colours in (("noise", 256), ("flat", 1)):
        picture = np.random.default_rng(0).integers(0, colours, (144, 144, 3)).astype(np.uint8)
        (out.results / name).mkdir(parents=True)
        image = sitk.GetImageFromArray(picture, isVector=True)
        files.write_image(image, out.results / name / THUMBNAIL, quality=QUALITY)
        row = Row(name, DONE, structures=ROWS[1].structures, case_quality=0.9)
        sizes.append(len(page(out, [row])) - len(page(out, [])))
    assert max(sizes) < 20_000
    assert min(sizes) < 2_000


def test_a_cohort_sums_up_volumes_dice_warnings_and_faults():
    cohort = summed_up([*ROWS, replace(ROWS[1], case="poor too", warnings=("Slices are 9.5 mm apart; look <here>.",))])
    assert (cohort.counts, cohort.empty) == ("4 results, 1 fault", ("empty",))
    volume, dice = cohort.distributions
    assert (volume.what, volume.cases, volume.figures[0]) == ("cavity, ml", 4, 150.0)
    assert (dice.cases, dice.figures[2], dice.figures[-1]) == (3, 0.6, 0.95)
    assert cohort.warnings == (("Slices are … mm apart; look <here>.", 2),)
    assert cohort.faults == (("odd <name>", "It is cut & gone."),)
    assert "    2  Slices are … mm apart" in in_text(cohort)
    assert [*csv.reader(in_csv(cohort).splitlines())][1][:4] == ["distribution", "cavity, ml", "4", "150"]
    assert "0 results" in in_text(summed_up([]))


def test_csam_cohort_reads_one_or_several_folders(scans, tmp_path, model, capsys):
    for name in ("a", "b"):
        segment(scans, tmp_path / name, model)
    capsys.readouterr()
    figures = tmp_path / "cohort.csv"
    assert main(["cohort", str(tmp_path / "a"), str(tmp_path / "b"), "--csv", str(figures)]) == 0
    said = capsys.readouterr().out
    assert "6 results, 2 faults" in said
    assert f"{tmp_path / 'a'}/cut: cut.nii.gz is incomplete" in said
    assert figures.read_text(encoding="utf-8").startswith("kind,what,cases,mean")
    assert main(["cohort", str(scans)]) == 2
    assert "holds no batch" in capsys.readouterr().err


def test_a_page_is_not_written_anew_for_every_case(tmp_path, model, monkeypatch):
    written = []
    monkeypatch.setattr("csam.batch.pages.write_text", lambda path, text: written.append(path.name))
    batch = Batch("the scene", str(tmp_path / "out"), model, small.model().digest, Options())
    with Session(batch, small.model()) as session:
        for one in ROWS:
            session.take(one)
        assert written == ["cases.csv", "index.html"]
    assert len(written) == 4


def test_one_by_one_yields_as_it_goes(scans, tmp_path, model, counted):
    loaded = small.model()
    batch = Batch(str(scans), str(tmp_path / "out"), model, loaded.digest, Options(samples=1, device="cpu"))
    with Session(batch, loaded) as session:
        rows = one_by_one(batch, session.find(), loaded)
        assert [next(rows).case, next(rows).case] == ["cut", "scan0"]
    assert len(counted) == 1


def test_a_table_that_is_open_elsewhere_stops_no_batch(tmp_path, monkeypatch):
    pages = Pages(BatchFolder(tmp_path))

    def in_use(*_):
        raise PermissionError("in use")

    monkeypatch.setattr("csam.batch.pages.write_text", in_use)
    pages.add(Row("a", DONE))
    with pytest.raises(PermissionError):
        pages.write()


def test_a_case_that_is_done_loses_the_fault_of_a_run_that_could_not_read_it(scans, tmp_path, model):
    whole = tmp_path / "whole"
    whole.mkdir()
    (scans / "scan1.nii.gz").rename(whole / "scan1.nii.gz")
    out = tmp_path / "out"
    assert segment(whole, out, model) == 0
    BatchFolder(out).fail("scan1", ["scan1.nii.gz"], "The share was away.")
    assert [row.state for row in BatchFolder(out).rows()] == [FAULT]
    assert segment(whole, out, model) == 0
    assert [row.state for row in BatchFolder(out).rows()] == [DONE]


def test_a_name_that_is_not_utf8_is_written_in_a_way_that_can_be_read(tmp_path):
    files.write_text(tmp_path / "a.csv", table([Row("a", FAULT, ("M\udcfcller.nii",), fault="damaged")]))
    assert "M\\udcfcller" in (tmp_path / "a.csv").read_text(encoding="utf-8")
