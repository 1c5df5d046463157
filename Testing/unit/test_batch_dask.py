"""A batch over Dask workers: the same bits as one process, faults named, and words where there is no scheduler."""

import subprocess
import sys

import pytest
import SimpleITK as sitk
from unit import small

from csam.batch import spread
from csam.batch.cases import Case
from csam.batch.folder import BatchFolder
from csam.batch.row import DONE, FAULT
from csam.batch.run import Batch
from csam.cli import main
from csam.errors import InputError
from csam.result import Options


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask") / "scans"
    folder.mkdir()
    for number in range(3):
        sitk.WriteImage(small.image(seed=number), str(folder / f"scan{number}.nii.gz"))
    (folder / "cut.nii.gz").write_bytes((folder / "scan0.nii.gz").read_bytes()[:900])
    small.model().save(folder.parent / "model")
    return folder


def line(scans, out, *more):
    model = str(scans.parent / "model")
    return ["segment", str(scans), "--out", str(out), "--model", model, "--samples", "2", "--device", "cpu", *more]


def batch(scans, out, **more):
    return Batch(str(scans), str(out), str(scans.parent / "model"), small.model().digest, Options(samples=1), **more)


def test_two_worker_processes_give_the_same_bits_as_one_process(scans, tmp_path):
    distributed = pytest.importorskip("distributed")
    assert main(line(scans, tmp_path / "one")) == 0
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert main(line(scans, tmp_path / "two", "--scheduler", address)) == 0
        with distributed.Client(address) as client:
            assert len(client.scheduler_info()["workers"]) == 2
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one" / "cases").rglob("*.nrrd")]
    assert len(files) == 12
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    rows = {row.case: row for row in BatchFolder(tmp_path / "two").rows()}
    assert [rows[name].state for name in ("cut", "scan0", "scan1", "scan2")] == [FAULT, DONE, DONE, DONE]


def test_a_task_segments_a_case_as_it_does_in_this_process(scans, tmp_path):
    folder = BatchFolder(tmp_path / "out")
    folder.begin(scans, small.model(), Options(samples=1))
    assert spread.task(batch(scans, folder.path), Case("scan0", ("scan0.nii.gz",))).state == DONE
    assert spread.task(batch(scans, folder.path), Case("cut", ("cut.nii.gz",))).state == FAULT


def test_a_worker_with_another_model_of_the_name_says_so(scans, tmp_path):
    other = Batch(str(scans), str(tmp_path), str(scans.parent / "model"), "another", Options())
    with pytest.raises(InputError, match="is not the one with which the batch was started"):
        spread.task(other, Case("scan0", ("scan0.nii.gz",)))


def test_a_case_that_no_worker_survives_is_a_fault(scans, tmp_path):
    row = spread._lost(batch(scans, tmp_path), Case("scan0", ("scan0.nii.gz",)), RuntimeError("it died"))
    assert (row.state, row.case) == (FAULT, "scan0")
    assert row.fault.startswith("No worker could segment it: ")
    assert [one.fault for one in [row]] == [row.fault]


def test_without_distributed_it_says_what_to_install(scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(line(scans, tmp_path / "out", "--scheduler", "tcp://nowhere:1")) == 2
    assert "Run: pip install 'csamsegment[batch]'" in capsys.readouterr().err


def test_without_a_scheduler_it_says_how_to_start_one(scans, tmp_path, monkeypatch, capsys):
    distributed = pytest.importorskip("distributed")

    def nobody(address, timeout):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", nobody)
    assert main(line(scans, tmp_path / "out", "--scheduler", "tcp://nowhere:1")) == 2
    assert "There is no Dask scheduler at tcp://nowhere:1" in capsys.readouterr().err


def test_distributed_is_imported_by_nothing_but_a_spread_batch():
    program = "import sys; sys.modules['distributed'] = None; import csam.cli, csam.batch.spread, csam.batch.session"
    subprocess.run([sys.executable, "-c", program], check=True)
