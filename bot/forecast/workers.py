"""Who computes forecasts in bulk: this process, or one process for each GPU or processor core."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from bot.errors import ModelRefused
from bot.forecast.bulk import Answer, Setup, Task, Worker
from bot.forecast.checkpoints import threads_for
from bot.forecast.network import ModelSpec


class Local:
    """In this process. The model is loaded with the first task."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def answers(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Answer]]:
        worker: Worker | None = None
        for task in tasks:
            worker = worker or Worker(self._setup)
            yield task, worker.answer(task)


class Processes:
    """`count` processes, each with a model of its own and, where there are any, a GPU of its own."""

    def __init__(self, setup: Setup, count: int) -> None:
        self._setup = setup
        self._count = count

    def answers(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Answer]]:
        with ExitStack() as stack:
            started = [stack.enter_context(_Process(self._setup, number)) for number in range(self._count)]
            for process in started:
                process.take(next(tasks, None))
            while any(process.task is not None for process in started):
                ready = wait([process.pipe for process in started if process.task is not None])
                for process in (one for one in started if one.pipe in ready):
                    answered = process.done()
                    process.take(next(tasks, None))  # before the answer is stored, so that nobody waits for that
                    yield answered


class _Process:
    """One of them, as its parent sees it. It has one task at a time: with a second one under way, parent and child
    could both be writing into full pipes."""

    def __init__(self, setup: Setup, number: int) -> None:
        self.pipe, self._theirs = multiprocessing.Pipe()
        self.task: Task | None = None
        gpu = number if torch.cuda.is_available() else None
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads and locks
        self._process: BaseProcess = context.Process(target=_serve, args=(self._theirs, setup, gpu), daemon=True)

    def __enter__(self) -> "_Process":
        with _interrupts_held_back():
            self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self._process.terminate()
        self._process.join()

    def take(self, task: Task | None) -> None:
        self.task = task
        if task is not None:
            self.pipe.send(task)

    def done(self) -> tuple[Task, Answer]:
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise ModelRefused(
                f"a forecasting process ended with status {self._process.exitcode}; fewer --processes need less memory"
            ) from None
        if isinstance(answer, ModelRefused):
            raise answer
        assert self.task is not None  # only who has a task is waited for
        return self.task, answer


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process that is started in it never sees Ctrl-C, not in the seconds either in which it imports; ours waits."""
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and lets interrupts in then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, setup: Setup, gpu: int | None) -> None:
    """The child: answers until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the parent's to act on
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    try:
        worker = Worker(setup)
        while True:
            pipe.send(worker.answer(pipe.recv()))
    except ModelRefused as refused:
        pipe.send(refused)
    except (EOFError, ConnectionError):
        return  # the parent is gone, and with it whoever would want an answer


def fitting(spec: ModelSpec, wanted: int, threads: int) -> int:
    """How many processes: as many as wanted; 0: one for each GPU, else as many as the cores have threads for."""
    if wanted:
        return wanted
    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return max(1, len(os.sched_getaffinity(0)) // (threads or threads_for(spec)))


def workers(setup: Setup, count: int) -> Local | Processes:
    return Local(setup) if count == 1 else Processes(setup, count)
