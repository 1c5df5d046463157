"""A case of a batch that is opened: all of it, or nothing."""

from types import SimpleNamespace

import pytest
import SimpleITK as sitk

from csam.errors import InputError
from CSAMSegmentLib.logic import batch_case


def test_a_case_whose_result_does_not_fit_leaves_nothing_in_the_scene(
    host, volume, model, make_result, tmp_path, monkeypatch
):
    result = make_result(volume)
    host.scene.RemoveNode(volume)
    said = {"model": {"name": model.name}}
    out = SimpleNamespace(results=tmp_path, path=tmp_path, description=lambda: said)
    library = SimpleNamespace(find=lambda name: (tmp_path, model))
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / batch_case.REPORT).write_text("{}")
    monkeypatch.setattr(batch_case, "_images", lambda *_: [sitk.Image(3, 3, 3, sitk.sitkInt16)])
    monkeypatch.setattr(batch_case, "read_result", lambda _place: result)
    before = host.node_ids()
    with pytest.raises(InputError, match="The result has 5 x 6 x 4 voxels"):
        batch_case.open_case(out, "scan", library)
    assert host.node_ids() == before
