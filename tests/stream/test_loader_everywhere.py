"""Everywhere: other start methods, threads, notebooks, and frameworks with their own loop, each in a fresh process."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from streams import Truth, make_truth, run_script

from ferdata.stream import Loader

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}
NUM_BATCHES = 37


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("everywhere"))


@pytest.fixture(scope="module")
def expected(truth: Truth) -> list[list[int]]:
    """The sample indices of three epochs, read without workers."""
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        return [[number for batch in loader for number in truth.assert_true(batch)] for _ in range(3)]


def output_of(tmp_path: Path, text: str, *arguments: str) -> Any:
    """Run a script to its end and return the JSON of its last line."""
    done = run_script(tmp_path / "script.py", text, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


OPTIONS = 'dict(batch_size=8, window_samples=48, fields=("images", "labels", "indices"), seed=3, num_workers=2)'

START_METHODS = f"""
import json, sys, threading
import ferdata.stream.pipeline
from ferdata.stream import Loader

def numbers_of(batch):
    numbers = batch.indices.tolist()
    assert batch.images.flatten(1)[:, 0].tolist() == [number % 256 for number in numbers]
    return numbers

def read(start_method, found):
    with Loader(sys.argv[1], start_method=start_method, **{OPTIONS}) as loader:
        found[start_method] = [[number for batch in loader for number in numbers_of(batch)] for _ in range(2)]

if __name__ == "__main__":
    ferdata.stream.pipeline.JOBS_PER_WORKER = 12
    found = {{}}
    threads = [threading.Thread(target=read, args=(method, found)) for method in ("spawn", "forkserver")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(found))
"""


def test_every_start_method_reads_the_same_in_any_thread(
    truth: Truth, expected: list[list[int]], tmp_path: Path
) -> None:
    """fork is not to be had everywhere; the run must be the same run. Two loaders in two threads at once."""
    found = output_of(tmp_path, START_METHODS, str(truth.root))

    assert found == {"spawn": expected[:2], "forkserver": expected[:2]}


NOTEBOOK = f"""
import json, sys, time
from jupyter_client.manager import start_new_kernel

OPTIONS = {OPTIONS!r}

def run(code):
    printed = []
    def hook(message):
        content = message["content"]
        printed.append(content.get("text") or content.get("ename") or "")
        if "waiting" in printed[-1]:
            time.sleep(0.3)
            manager.interrupt_kernel()
    client.execute_interactive(code, output_hook=hook, timeout=60, store_history=False, stop_on_error=False)
    return "".join(printed).strip()

manager, client = start_new_kernel(kernel_name="python3")
try:
    cells = [
        "import time; from ferdata.stream import Loader",
        "options = dict(OPTIONS, workers=KIND); loader = Loader(ROOT, **options); print(len(loader))",
        "print([number for batch in loader for number in batch.indices.tolist()])",
        "for number, batch in enumerate(loader):\\n  if number == 3: print('waiting', flush=True); time.sleep(60)",
        "print([number for batch in loader.resume() for number in batch.indices.tolist()])",
        "loader.set_epoch(1); print([number for batch in loader for number in batch.indices.tolist()])",
        "import psutil; print(len(psutil.Process().children()))",
        "loader = Loader(ROOT, **options); print([number for batch in loader for number in batch.indices.tolist()])",
        "import gc; del batch; gc.collect(); print(len(psutil.Process().children()))",
    ]
    names = {{"ROOT": repr(sys.argv[1]), "OPTIONS": OPTIONS, "KIND": repr(sys.argv[2])}}
    for name, value in names.items():
        cells = [cell.replace(name, value) for cell in cells]
    print(json.dumps([run(cell) for cell in cells]))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


@needs("ipykernel", "jupyter_client")
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_notebook_can_be_interrupted_and_go_on(
    truth: Truth, expected: list[list[int]], tmp_path: Path, kind: str
) -> None:
    """A cell is stopped midway, the next goes on with the same workers; a cell run again replaces both."""
    printed = output_of(tmp_path, NOTEBOOK, str(truth.root), kind)
    imported, length, first, stopped, rest, again, workers, new, left = printed

    assert (imported, length, stopped) == ("", str(NUM_BATCHES), "waiting\nKeyboardInterrupt")
    assert [json.loads(first), json.loads(again), json.loads(new)] == [expected[0], expected[1], expected[0]]
    assert json.loads(rest) == expected[1][4 * 8 :]
    assert (workers, left) == (("2", "2") if kind == "process" else ("0", "0"))


LIGHTNING = f"""
import json, logging, sys, warnings
warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
import torch
from lightning.pytorch import LightningModule, Trainer
from ferdata.stream import Loader

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(192, 8)
        self.seen, self.validated = [], []
    def training_step(self, batch, _):
        self.seen.append(batch.indices.tolist())
        return torch.nn.functional.cross_entropy(self.layer(batch.images.flatten(1).float() / 255), batch.labels)
    def validation_step(self, batch, _):
        self.validated.append(batch.indices.tolist())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

if __name__ == "__main__":
    model = Model()
    options = {OPTIONS}
    with Loader(sys.argv[1], **options) as train, Loader(sys.argv[1], split="val", shuffle=False, **options) as val:
        trainer = Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                          enable_progress_bar=False, enable_model_summary=False,
                          num_sanity_val_steps=0, default_root_dir=sys.argv[2])
        trainer.fit(model, train_dataloaders=train, val_dataloaders=val)
        print(json.dumps([model.seen, model.validated, trainer.num_training_batches]))
"""


@needs("lightning")
def test_lightning_takes_the_loader_as_it_is(truth: Truth, expected: list[list[int]], tmp_path: Path) -> None:
    """``fit(train_dataloaders=loader)``: every epoch whole, in the loader's own order, and each one another."""
    seen, validated, length = output_of(tmp_path, LIGHTNING, str(truth.root), str(tmp_path))

    assert [number for batch in seen for number in batch] == expected[0] + expected[1]
    assert [number for batch in validated for number in batch] == list(range(50)) * 2
    assert length == NUM_BATCHES


ACCELERATE = f"""
import json, os, sys
import torch.distributed
from accelerate import Accelerator
from ferdata.stream import Loader

if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    with Loader(sys.argv[1], **{OPTIONS}) as loader:
        prepared = accelerator.prepare(loader)
        numbers = [number for batch in prepared for number in batch.indices.tolist()]
        parts = [None] * accelerator.num_processes
        if accelerator.num_processes > 1:
            torch.distributed.all_gather_object(parts, numbers)
        else:
            parts = [numbers]
        if accelerator.is_main_process:
            print(json.dumps([prepared is loader, parts]), flush=True)
    accelerator.end_training()
"""


@needs("accelerate")
def test_accelerate_passes_the_loader_through(truth: Truth, expected: list[list[int]], tmp_path: Path) -> None:
    """``prepare(model, optimizer, loader)`` must leave it alone: it has its share of the ranks already."""
    same, parts = output_of(tmp_path, ACCELERATE, str(truth.root))

    assert same and parts == [expected[0]]


TORCHRUN = """
import runpy, sys
rendezvous = ["--master-port=0", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
sys.argv = ["torchrun", "--nproc-per-node=2", *rendezvous, *sys.argv[1:]]
if __name__ == "__main__":
    runpy.run_module("torch.distributed.run", run_name="__main__")
"""


@needs("accelerate")
def test_accelerate_on_two_ranks_does_not_shard_twice(truth: Truth, tmp_path: Path) -> None:
    """A loader assigned once by itself and once by the framework reads a quarter per rank, and nobody is told."""
    (tmp_path / "train.py").write_text(ACCELERATE)

    _, parts = output_of(tmp_path, TORCHRUN, str(tmp_path / "train.py"), str(truth.root))

    assert [len(part) for part in parts] == [144, 144]
    assert len({*parts[0], *parts[1]}) == 288


LIGHTNING_MIDWAY = f"""
import json, sys, warnings
import lightning, torch
from ferdata.stream import Loader
warnings.filterwarnings("ignore")

class Reader(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Linear(1, 1)
        self.seen = []
    def training_step(self, batch, number):
        self.seen.append(batch.indices.tolist())
        return self.weight(batch.images.float().mean().view(1, 1)).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class Stop(lightning.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == int(sys.argv[2]):
            trainer.save_checkpoint(sys.argv[3])
            raise InterruptedError

def fit(callbacks=(), **options):
    reader = Reader()
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks))
    with Loader(sys.argv[1], **{OPTIONS}) as loader:
        try:
            trainer.fit(reader, loader, **options)
        except InterruptedError:
            pass
    return reader.seen

if __name__ == "__main__":
    print(json.dumps([fit(), fit([Stop()]) + fit(ckpt_path=sys.argv[3], weights_only=False)]))
"""


@needs("lightning")
@pytest.mark.parametrize("step", [1, 20, 37, 50])
def test_lightning_goes_on_within_an_epoch(tmp_path: Path, truth: Truth, step: int) -> None:
    """It counts the batches it has seen against ``len(loader)``: a length of what is left ended the run early."""
    whole, resumed = output_of(tmp_path, LIGHTNING_MIDWAY, str(truth.root), str(step), str(tmp_path / "midway.ckpt"))
    assert len(whole) == 2 * NUM_BATCHES and resumed == whole
