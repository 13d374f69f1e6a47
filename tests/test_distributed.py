"""Two processes train as one does, to the byte; the first alone writes; a killed one resumes.
Run by torchrun, this file is the script that both processes run."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from poyo import ROOT, adapt, distributed, optim, resume, threads, train
from poyo.config import EmbeddingRecipe, Recipe, Windows
from poyo.data.recording import Recording
from poyo.decoder import Decoder

COMMON = {"steps": 4, "eval_every": 3, "batch_size": 5, "unit_dropout": (4, 6, 8)}
RECIPE = Recipe(**COMMON)
DIED_AT = 2
ASKED_AT = 2  # in the next life, so that step 3 is kept


def trainings(folder: Path) -> dict[str, dict]:
    """What some trainings of the sessions in `folder` give: every step's loss and gradients,
    the history, the weights."""
    threads.CHUNK = (2, 2)  # 5 windows have three parts, the last one shorter
    train.SAVE_EVERY = -1.0
    monday, *more = (Recording.load(path) for path in sorted(folder.glob("*.h5")))
    small = {"size": "smoke", "windows": Windows(eval_step=0.5)}
    known = Decoder.new([monday, *more], **small)
    new = known.adopt([monday])
    original, found = train.gradients, {}

    def training(name, function, decoder, *arguments):
        steps = []

        def gradients(model, *rest):
            loss = original(model, *rest)
            learning = [p for p in model.parameters() if p.requires_grad]
            steps.append((loss, [p.grad.clone() for p in learning]))
            return loss

        train.gradients = gradients
        history = function(decoder, *arguments, label=name)
        train.gradients = original
        weights = decoder.copy().model.state_dict()
        decoder.save(folder / f"{name}-{os.environ.get('RANK', 'alone')}.pt")
        found[name] = {"steps": steps, "history": history, "weights": weights}

    training("pretraining", train.fit, known, [monday, *more], RECIPE)
    lamb = replace(RECIPE, optimizer="lamb")
    training("lamb", train.fit, Decoder.new([monday, *more], **small), [monday, *more], lamb)
    few = EmbeddingRecipe(**COMMON | {"batch_size": 2})  # of which there is one part
    training("identification", adapt.identify_units, new, [monday], few)
    training("finetuning", adapt.finetune, new, [monday], RECIPE)
    if distributed.size() > 1:
        with pytest.raises(ValueError, match="the processes do not train alike"):
            train.fit(new, [monday], RECIPE, seed=distributed.rank())
    return found


def die_twice(optimizers, recipe, step, original=optim.set_step) -> None:
    """In place of optim.set_step: the second process is killed in its first life, and asked to
    end in its second."""
    ways = {("0", DIED_AT): signal.SIGKILL, ("1", ASKED_AT): signal.SIGTERM}
    way = ways.get((os.environ["TORCHELASTIC_RESTART_COUNT"], step))
    if way and distributed.rank() == 1:
        os.kill(os.getpid(), way)
    original(optimizers, recipe, step)


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    os.environ["POYO_SCRATCH"] = str(folder / f"scratch-{rank}")  # disks of their own
    optim.set_step = die_twice
    torch.save(trainings(folder), folder / f"found-{rank}.pt")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory, simulated, easy) -> Path:
    """A folder with three recordings."""
    folder = tmp_path_factory.mktemp("sessions")
    for one in (simulated, easy("easy"), easy("third", units=5, seed=1)):
        one.save(folder / f"{one.session_id}.h5")
    return folder


@pytest.fixture(scope="module")
def both(sessions) -> tuple[list[dict], str]:
    """What each of two processes found, and what was said."""
    command = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 2".split()
    run = subprocess.run(
        [sys.executable, *command, __file__, sessions],
        env=os.environ | distributed.FRESH_STORE | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return [torch.load(sessions / f"found-{rank}.pt") for rank in (0, 1)], run.stderr


@pytest.fixture(scope="module")
def alone(sessions) -> dict:
    """The same by one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POYO_SCRATCH", str(sessions / "alone"))
        patch.setattr(threads, "CHUNK", threads.CHUNK)
        patch.setattr(train, "SAVE_EVERY", train.SAVE_EVERY)
        return trainings(sessions)


NAMES = "pretraining", "lamb", "identification", "finetuning"


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_as_one_does(both, alone, name):
    expected = alone[name]
    resumed_at = ASKED_AT + 1 if name == "pretraining" else 0
    for found in both[0]:
        found = found[name]
        assert found["history"] == expected["history"]
        assert len(found["steps"]) == RECIPE.steps - resumed_at
        for (loss, grads), (its_loss, its_grads) in zip(
            found["steps"], expected["steps"][resumed_at:]
        ):
            assert loss == its_loss
            assert all(map(torch.equal, grads, its_grads))
        assert found["weights"].keys() == expected["weights"].keys()
        for weight, value in expected["weights"].items():
            assert torch.equal(found["weights"][weight], value), weight


def test_a_killed_process_goes_on_from_the_last_state(both):
    assert f"pretraining: resumed at step {DIED_AT}" in both[1]


def test_all_processes_end_after_the_step_in_which_one_is_asked_to(both):
    """SIGTERM comes to the second process alone, and it is the first that keeps the step."""
    assert f"pretraining: asked to end; step {ASKED_AT + 1} is kept" in both[1]
    assert f"pretraining: resumed at step {ASKED_AT + 1}" in both[1]


def test_only_the_first_process_writes_and_reports(both, sessions):
    assert len([*sessions.glob("scratch-0/*.pt")]) == len(NAMES)
    assert not (sessions / "scratch-1").exists()
    assert {path.name for path in sessions.glob("*-[01].pt")} == {
        *(f"{name}-0.pt" for name in NAMES), "found-0.pt", "found-1.pt",
    }  # fmt: skip
    for name in NAMES:
        assert both[1].count(f"{name}: step 4/4") == 1
    assert both[1].count("1 of 2 processes are idle: a batch of 2 windows has 1 parts") == 1


def test_a_restart_that_would_hang_is_refused(monkeypatch):
    told = {"RUN_ID": "none", "RESTART_COUNT": "1", "USE_AGENT_STORE": "True"}
    for key, value in told.items():
        monkeypatch.setenv(f"TORCHELASTIC_{key}", value)
    with pytest.raises(ValueError, match="set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchr"):
        distributed.join()


def test_a_notebook_launches_processes_for_each_training(sessions, scratch, capfd):
    recording, windows = Recording.load(sessions / "easy.h5"), Windows(eval_step=0.5)

    def trained(seed):
        decoder = Decoder.new([recording], size="smoke", windows=windows, seed=seed)
        history = train.fit(decoder, [recording], RECIPE, seed=seed, label=f"seed {seed}")
        return decoder, history, distributed.size()

    launched = distributed.launch(trained, [0, 1], processes=2)
    said = capfd.readouterr().err
    for seed, (decoder, history, size) in enumerate(launched):
        os.environ["POYO_SCRATCH"] = str(scratch / "alone")
        one, its_history, _ = trained(seed)
        assert size == 2 and history == its_history
        assert said.count(f"seed {seed}: step 4/4") == 1
        for name, value in one.model.state_dict().items():
            assert torch.equal(decoder.model.state_dict()[name], value)
    assert len([*scratch.glob("*.pt")]) == 2


def test_processes_that_keep_failing_say_why(monkeypatch):
    def fails(item):
        raise ValueError(f"{item} is not a session; give it one")

    monkeypatch.setattr(distributed, "RESTARTS", 0)
    with pytest.raises(RuntimeError, match="ValueError: monday is not a session; give it one"):
        distributed.launch(fails, ["monday"], processes=2)


def test_the_sum_of_the_parts_is_taken_in_their_order():
    parts = torch.tensor([[1e8, 1.0], [1.0, 2.0], [-1e8, 3.0]])
    assert distributed.add_up(parts, [3]).tolist() == [0.0, 6.0]


def test_a_state_of_resume_is_written_by_one_process_alone(tmp_path):
    resume.write(tmp_path / "state.pt", {"step": 1})
    assert resume.read(tmp_path / "state.pt") == {"step": 1}
