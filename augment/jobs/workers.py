"""Processes of this command's own, one for each device, that are given work and give back results.

They write nothing and hold no locks of their own accord; whoever starts them decides what they do. They end
with their parent, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import connection, get_context, parent_process
from types import TracebackType
from typing import Any

from augment.errors import BackboneError


class Channel:
    """A worker's end: what it is sent, and where its results go."""

    def __init__(self, pipe: connection.Connection):
        self._pipe = pipe

    def receive(self) -> Any:
        """The next message; waits for it."""
        return self._pipe.recv()

    def send(self, result: Any) -> None:
        """Give back a result."""
        self._pipe.send(("result", result))


class Workers:
    """One process a device, each running ``main(channel, device, setup)``.

    Args:
        devices: a device may be named twice.
        main: a function of a module (it is looked up by its name in the new process); ends when it returns.
        setup: handed to each; like all messages and results it is pickled.
    """

    def __init__(self, devices: Sequence[str], main: Callable[[Channel, str, Any], None], setup: Any):
        self.devices = list(devices)
        self._main, self._setup = main, setup
        self._pipes: list[connection.Connection] = []
        self._processes: list[Any] = []

    def __len__(self) -> int:
        return len(self.devices)

    def __enter__(self) -> Workers:
        import torch

        context = get_context("spawn")  # a forked process cannot use CUDA
        for device in self.devices:
            ours, theirs = context.Pipe()
            arguments = (theirs, self._main, device, self._setup, torch.get_num_threads())
            process = context.Process(target=_run, args=arguments, name=f"augment-{device}", daemon=True)
            process.start()
            theirs.close()  # so that its end is seen
            self._pipes.append(ours)
            self._processes.append(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.join()
            pipe.close()

    def send(self, worker: int, message: Any) -> None:
        """Send a worker a message.

        Raises:
            BackboneError: it has ended.
        """
        try:
            self._pipes[worker].send(message)
        except (BrokenPipeError, ConnectionResetError):
            while True:  # up to what it said at its end
                self._receive(worker)

    def receive(self) -> tuple[int, Any]:
        """The next result of any worker; waits for it.

        Returns:
            The worker's number, and its result.

        Raises:
            BackboneError: a worker has ended unasked.
            Exception: what a worker raised.
        """
        worker = self._pipes.index(connection.wait(self._pipes)[0])
        return worker, self._receive(worker)

    def _receive(self, worker: int) -> Any:
        try:
            kind, *value = self._pipes[worker].recv()
        except (EOFError, ConnectionResetError):
            raise self._ended(worker) from None
        if kind == "error":
            error, text = value
            raise error from RuntimeError(f"in the process for {self.devices[worker]}:\n{text}")
        return value[0]

    def _ended(self, worker: int) -> BackboneError:
        process = self._processes[worker]
        process.join(timeout=1)
        how = f"with code {process.exitcode}"
        if process.exitcode is not None and process.exitcode < 0:
            how = f"by {signal.Signals(-process.exitcode).name}"
        return BackboneError(
            f"The process for {self.devices[worker]} was ended {how} (out of memory?). Run the same command "
            "again; it resumes."
        )


def _run(
    pipe: connection.Connection,
    main: Callable[[Channel, str, Any], None],
    device: str,
    setup: Any,
    threads: int,
) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    try:
        main(Channel(pipe), device, setup)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
    except BaseException as error:
        with contextlib.suppress(OSError):
            text = traceback.format_exc()
            try:
                pipe.send(("error", error, text))
            except Exception:  # it cannot be pickled
                pipe.send(("error", RuntimeError(f"{type(error).__name__}: {error}"), text))


def _end_with_parent() -> None:
    """A parent that was killed must not leave processes behind that hold its card and its folders."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
