"""Slices in parallel: every item once, in order; errors and cancels end the work."""

import threading
import time

import pytest
import torch

from csam.network.parallel import Threads

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def count(request):
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def test_the_outcomes_come_in_the_order_of_the_items(count):
    def work(item):
        time.sleep(0.01 * (item == 0))
        return 2 * item

    assert Threads().map(work, range(7), CPU) == [0, 2, 4, 6, 8, 10, 12]
    assert torch.get_num_threads() == count


def test_several_threads_work_and_each_has_torch_to_itself():
    torch.set_num_threads(3)
    try:
        meeting = threading.Barrier(3, timeout=20)

        def work(item):
            meeting.wait()
            return threading.current_thread().name, torch.get_num_threads()

        names, inside = zip(*Threads().map(work, range(3), CPU), strict=True)
    finally:
        torch.set_num_threads(1)
    assert len(set(names)) == 3
    assert set(inside) == {1}


def test_the_work_sees_the_callers_gradient_mode(count):
    def modes(item):
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with torch.inference_mode():
        assert set(Threads().map(modes, range(4), CPU)) == {(True, False)}
    with torch.no_grad():
        assert set(Threads().map(modes, range(4), CPU)) == {(False, False)}


def test_an_error_ends_the_work_and_reaches_the_caller(count):
    threads, begun = Threads(), []

    def work(item):
        begun.append(item)
        if item == 1:
            raise MemoryError("no more")
        for _ in range(200):
            threads.pause()
            time.sleep(0.01 * (count > 1))

    with pytest.raises(MemoryError, match="no more"):
        threads.map(work, range(50), CPU)
    assert len(begun) < 10
    assert threads.map(lambda item: item, range(3), CPU) == [0, 1, 2], "it goes on after an error"


def test_what_the_watch_raises_ends_the_work_soon(count):
    started = time.monotonic()

    def watch():
        if time.monotonic() - started > 0.2:
            raise InterruptedError

    threads = Threads(watch)

    def work(item):
        for _ in range(4000):
            threads.pause()
            time.sleep(0.005)

    with pytest.raises(InterruptedError):
        threads.map(work, range(6), CPU)
    assert time.monotonic() - started < 15


def test_work_that_shares_out_work_stays_in_its_thread():
    torch.set_num_threads(2)
    threads = Threads()
    try:
        found = threads.map(
            lambda item: threads.map(lambda inner: threading.current_thread().name, range(3), CPU), range(2), CPU
        )
    finally:
        torch.set_num_threads(1)
    assert all(len(set(names)) == 1 for names in found)


def test_every_thread_gets_its_share_of_the_slices(count):
    threads = Threads()
    assert threads.share(12, 100, "cpu") == 12 // count
    assert threads.share(12, 2, "cpu") == 2
    assert threads.share(12, 0, "cpu") == 1
    assert threads.share(12, 100, "cuda") == 12
