"""The same batches on a Ray cluster. Imported by `forecast --ray` alone: ray is an extra."""

import socket
from collections.abc import Iterator
from typing import Any

import ray

from bot.errors import OperatorError
from bot.forecast.bulk import Answer, Setup, Task, Worker

AHEAD = 2  # tasks that a worker has at hand
ANSWER_SECONDS = 5.0


class RayWorkers:
    """One worker for each GPU of the cluster at `address`, or for each processor where it has none.

    Its machines need this package and the checkpoints, at the same paths.
    """

    def __init__(self, setup: Setup, address: str, count: int) -> None:
        self._setup = setup
        self._address = address
        self._count = count

    def answers(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Answer]]:
        _refuse_silence(self._address)
        try:
            ray.init(address=self._address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            words = str(error).strip().split("\n", 1)[0]
            raise OperatorError(f"--ray {self._address}: no cluster answers there ({words})") from None
        try:
            yield from self._spread(tasks)
        finally:
            ray.shutdown()

    def _spread(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Answer]]:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = self._count or gpus or int(ray.cluster_resources().get("CPU", 1))
        remote = ray.remote(num_gpus=1 if gpus else 0, num_cpus=1)(Worker)
        started = [remote.remote(self._setup) for _ in range(count)]
        at_work: dict[Any, tuple[Task, Any]] = {}

        def take(worker: Any) -> None:
            task = next(tasks, None)
            if task is not None:
                at_work[worker.answer.remote(task)] = task, worker

        for worker in started * AHEAD:
            take(worker)
        while at_work:
            (done,), _ = ray.wait(list(at_work), num_returns=1)
            task, worker = at_work.pop(done)
            answer = ray.get(done)
            take(worker)
            yield task, answer


def _refuse_silence(address: str) -> None:
    """OperatorError where nobody listens: ray itself would go on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise OperatorError(f"--ray {address}: nobody answers there ({error.strerror or error})") from None
