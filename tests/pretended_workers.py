"""Worker processes in name only: what they are given is done in this process, and some of them are killed."""

import threading
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

from l2dynamics.running import processes, train_job
from l2dynamics.running.workload import Job


class Workers:
    """In place of a pool of ``processes.start``; jobs begin in order, as many at once as there are workers.

    Args:
        size: number of workers.
        kills: asked before a job begins; True ends its worker, and with it the pool and all that is at work.
        fails: the error with which a job ends, or None; those behind it do not begin then.
    """

    def __init__(self, size, kills=lambda job: False, fails=lambda job: None):
        self.size, self.cpus, self.kills, self.fails = size, 1, kills, fails
        self.executor, self.stopping = self, threading.Event()
        self.given: list[Job] = []
        self.stopped_at_the_end = None
        self._waiting: list[tuple[Future, Job]] = []

    def submit(self, function, *arguments):
        """Take a job, which stands among the arguments or among those bound to one of them.

        What has no arguments compiles something for the jobs to come: here they compile it themselves.
        """
        if not arguments:
            done = Future()
            done.set_result(None)
            return done
        bound = [value for argument in arguments for value in (argument, *getattr(argument, "args", ()))]
        (job,) = [value for value in bound if isinstance(value, Job)]
        future = Future()
        self.given.append(job)
        self._waiting.append((future, job))
        return future

    def heard(self):
        """Work, until nothing is left to do or a worker is killed; nothing is said of it."""
        waiting, self._waiting = self._waiting, []
        killed = next((index for index, (_, job) in enumerate(waiting) if self.kills(job)), None)
        whole = len(waiting) if killed is None else max(0, killed - self.size + 1)
        for future, _ in waiting[whole:]:
            future.set_exception(BrokenProcessPool("a worker died"))
        for future, job in waiting[:whole]:
            if (error := self.fails(job)) is not None:
                future.set_exception(error)
                break
            train_job.execute(job)
            future.set_result(None)
        return iter(())

    def shutdown(self, **options):
        """The end of the pool."""
        self.stopped_at_the_end = self.stopping.is_set()


def pretend(monkeypatch, **options):
    """Replace the worker processes of the stages; the pools that are started show up in the list returned."""
    started = []

    def start(size, cpus=1):
        started.append(Workers(size, **options))
        return started[-1]

    monkeypatch.setattr(processes, "start", start)
    return started
