"""Optimizers with one fault each, in the first step: `test_slurm_classes.py` trains with copies of it.

With `tests/trainer.py` there is no torch, and nothing to train: the faults are the same.
"""

import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

SGD: Any = sys.modules["torch"].optim.SGD if "torch" in sys.modules else None


class OutOfMemoryError(RuntimeError):
    """As torch.cuda's, on a machine without a GPU."""


class Light:
    def __init__(self, params, lr):
        pass

    def step(self, closure=None):
        pass


class Faulty(SGD or Light):
    def __init__(self, params):
        super().__init__(params, lr=0.01)

    def step(self, closure=None):
        Path(
            os.environ["FAULTS_BEGUN"], f"{type(self).__name__}.{os.environ['SLURM_JOB_ID']}"
        ).touch()
        self.fail()
        return super().step(closure)

    def fail(self):
        """Nothing is wrong."""


class Crawls(Faulty):
    def fail(self):
        time.sleep(0.2)


class Sleeps(Faulty):
    def fail(self):
        time.sleep(3600)


class Hangs(Faulty):
    def fail(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)


class Eats(Faulty):
    def fail(self):
        eaten = []
        while True:
            eaten.append(b"x" * 10_000_000)


class NoMemory(Faulty):
    def fail(self):
        raise MemoryError


class NoCudaMemory(Faulty):
    def fail(self):
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class FillsDisk(Faulty):
    def fail(self):
        with Path(os.environ["PROBPREC_LAB"], "scratch", "fills").open("ab") as file:
            while True:
                file.write(bytes(1_000_000))


class Raises(Faulty):
    def fail(self):
        raise ValueError("a bug")


class ImportsNothing(Faulty):
    def fail(self):
        importlib.import_module("no_such_package")


class Segfaults(Faulty):
    def fail(self):
        os.kill(os.getpid(), signal.SIGSEGV)


class Exits(Faulty):
    def fail(self):
        os._exit(3)


class KillsItself(Faulty):
    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)
