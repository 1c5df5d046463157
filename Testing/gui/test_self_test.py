"""The self-test that Slicer runs, on the host: the shipped model through the real worker."""

import shlex
import sys

import pytest
from gui.panel_kit import MODULE

from CSAMSegmentLib import self_test

SHIPPED = MODULE / "Resources" / "Models" / self_test.MODEL


@pytest.fixture
def real(host, monkeypatch):
    """The module with its own models and a worker that has torch."""
    monkeypatch.setenv("CSAM_WORKER_COMMAND", shlex.join([sys.executable, "-m", "csam", "worker"]))
    host.load_module(MODULE / "CSAMSegment.py")
    return host


@pytest.mark.slow
@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the shipped model is not there yet")
def test_the_self_test_passes(real):
    sys.modules["CSAMSegment"].CSAMSegmentTest().runTest()


@pytest.fixture
def without_torch(real, monkeypatch):
    """The same with a worker whose Python has no torch, as on the machines that build extensions."""
    monkeypatch.setenv("CSAM_WORKER_COMMAND", shlex.join([sys.executable, "-c", NO_TORCH, str(MODULE)]))
    monkeypatch.delenv("CSAM_REQUIRE_TORCH", raising=False)
    return sys.modules["CSAMSegment"]


def test_without_torch_what_needs_none_passes_and_the_rest_is_skipped_loudly(without_torch, monkeypatch, caplog):
    shown = []
    monkeypatch.setattr(without_torch.CSAMSegmentTest, "delayDisplay", lambda self, text, *_: shown.append(text))
    without_torch.CSAMSegmentTest().runTest()
    names = [test.__doc__ for test in self_test.tests(without_torch.CSAMSegmentLogic)]
    assert shown[:-1] == names
    assert shown[-1].startswith(f"Test passed, but {len(names) - 2} of {len(names)} parts were SKIPPED")
    warned = [record.getMessage() for record in caplog.records if "SKIPPED" in record.getMessage()]
    assert [text.split("SKIPPED: ")[1].split(". ")[0] for text in warned] == names[2:]
    assert all("PyTorch is not installed for the Python that runs the worker" in text for text in warned)


def test_without_torch_the_self_test_fails_where_torch_must_be_there(without_torch, monkeypatch):
    monkeypatch.setenv("CSAM_REQUIRE_TORCH", "1")
    with pytest.raises(AssertionError, match="CSAM_REQUIRE_TORCH is 1, but: PyTorch is not installed for the Python"):
        without_torch.CSAMSegmentTest().runTest()


def test_a_part_that_fails_is_not_skipped():
    def broken():
        """Broken"""
        raise AssertionError("broken")

    with pytest.raises(AssertionError, match="broken"):
        self_test.run([broken], lambda: None, lambda text: None)


NO_TORCH = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["torch"] = None
from csam.process.worker import main
sys.exit(main())
"""
