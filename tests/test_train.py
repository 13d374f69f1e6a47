"""Training: same seed same bytes, also across a kill; what learns and what is frozen; files."""

import math
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import adapt, checkpoint, evaluate, optim, threads
from poyo import train as module
from poyo.checkpoint import CheckpointError
from poyo.intervals import intervals
from poyo.model import Attention, Dropout
from poyo.sampling import WindowError
from poyo.tokens import cut, latents, prepare
from poyo.train import train


def start(recordings, size="smoke", seed=0):
    """A new model for the recordings, and these as sessions."""
    new = adapt.scratch(recordings, size, seed=seed)
    return new.model, [prepare(r, new.units, new.sessions) for r in recordings]


def run(recordings, training, windows, *, size="smoke", seed=0):
    """A trained model and its history."""
    model, sessions = start(recordings, size)
    return model, train(model, sessions, training, windows, size=size, seed=seed, label="test")


def weights(model) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def changed(before: dict, after: dict) -> set[str]:
    """The tables and layers whose weights differ."""
    return {name.split(".")[0] for name in before if before[name] != after[name]}


ELSEWHERE = ("enc_atn", "enc_ffn", "proc_layers", "dec_atn", "dec_ffn", "readout")


# --- the same bytes ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_the_same_seed_gives_the_same_bytes(
    simulated, training, windows, scratch, monkeypatch, optimizer
):
    alike = []
    for attempt in "ab":  # each with no resume file of the other
        monkeypatch.setenv("POYO_SCRATCH", str(scratch / attempt))
        model, history = run([simulated], replace(training, optimizer=optimizer), windows)
        alike.append((weights(model), history))
    assert alike[0] == alike[1]


def test_trainings_in_processes_of_their_own_give_the_same_bytes(
    simulated, training, windows, tmp_path, monkeypatch
):
    def one(seed):
        monkeypatch.setenv("POYO_SCRATCH", str(tmp_path / f"{os.getpid()}"))
        model, history = run([simulated], training, windows, seed=seed)
        return os.getpid(), weights(model), history

    alone = [one(seed) for seed in (0, 1)]
    threads.use(2)
    together = threads.processes(one, [0, 1])
    threads.use(1)
    assert [facts for _, *facts in together] == [facts for _, *facts in alone]
    assert os.getpid() not in {process for process, *_ in together}


def test_an_error_in_a_process_is_raised_with_its_message():
    def fails(item):
        raise ValueError(f"{item} is not a session; give it one")

    threads.use(2)
    with pytest.raises(ValueError, match="is not a session; give it one"):
        threads.processes(fails, ["a", "b"])
    threads.use(1)


def test_another_seed_gives_another_model(simulated, training, windows):
    one, two = (run([simulated], training, windows, seed=seed)[0] for seed in (0, 1))
    assert changed(weights(one), weights(two)) >= {"readout", "unit_emb"}


def test_the_history_has_a_row_per_validation(simulated, training, windows, capsys):
    _, history = run([simulated], training, windows)
    assert [row["step"] for row in history] == [5, 10, 12]
    assert all(set(row) == {"step", "loss", "valid_r2"} for row in history)
    lines = capsys.readouterr()
    assert lines.out == ""
    assert "test: step 12/12" in lines.err


def test_the_weights_that_were_best_on_validation_stay(simulated, training, windows, monkeypatch):
    scripted, seen = iter([0.1, 0.9, 0.3]), []

    def scores(model, *_):
        seen.append(weights(model))
        return {"session": next(scripted)}

    monkeypatch.setattr(module.evaluate, "scores", scores)
    model, history = run([simulated], training, windows)
    assert [row["valid_r2"] for row in history] == [0.1, 0.9, 0.3]
    assert weights(model) == seen[1] != seen[2]


# --- interrupted ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
@pytest.mark.parametrize("at", [1, 4, 7])  # before, at and after the network unfreezes
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    simulated, training, windows, scratch, monkeypatch, capsys, optimizer, at
):
    training = replace(training, optimizer=optimizer, frozen=4)
    whole, history = run([simulated], training, windows)
    monkeypatch.setenv("POYO_SCRATCH", str(scratch / "other"))
    monkeypatch.setattr(module, "SAVE_EVERY", -1.0)
    with monkeypatch.context() as patch:
        original = optim.set_step

        def interrupted(*args):
            if args[-1] == at:
                raise KeyboardInterrupt
            original(*args)

        patch.setattr(optim, "set_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run([simulated], training, windows)
    again, history_again = run([simulated], training, windows)
    assert f"test: resumed at step {at}" in capsys.readouterr().err
    assert history_again == history
    assert weights(again) == weights(whole)


SCRIPT = """
import sys
from dataclasses import replace
import torch
from poyo import ROOT, adapt, train
from poyo.config import Windows, load
from poyo.recording import Recording
from poyo.tokens import prepare

torch.set_num_threads(1)
recording, out, save_every = sys.argv[1:]
train.SAVE_EVERY = float(save_every)
recording = Recording.load(recording)
training = load(ROOT / "profiles/smoke.yaml").own
training = replace(training, optimizer="adamw", steps=80, batch_size=4, eval_every=30, frozen=20)
windows = Windows(length=1.0, latent_step=0.125, eval_step=0.5, queries=1000)
new = adapt.scratch([recording], "smoke", seed=0)
sessions = [prepare(recording, new.units, new.sessions)]
train.train(new.model, sessions, training, windows, size="smoke", seed=0, label="script")
torch.save(new.model.state_dict(), out)
"""


def test_a_killed_run_started_again_ends_with_the_same_bytes(simulated, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    simulated.save(tmp_path / "s.h5")

    def begin(name: str, folder: str, save_every: float) -> subprocess.Popen:
        command = [sys.executable, "script.py", "s.h5", f"{name}.pt", str(save_every)]
        environment = os.environ | {"POYO_SCRATCH": str(tmp_path / folder)}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=pipe, text=True)

    whole = begin("whole", "one", 1e9)
    assert whole.communicate()[1] is not None and whole.returncode == 0

    killed = begin("killed", "two", -1.0)  # saves at every step
    deadline = time.monotonic() + 60
    while not list((tmp_path / "two").glob("*.pt")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.pt").exists()
    (left,) = (tmp_path / "two").glob("*.pt")
    assert 0 < checkpoint.read(left)["step"] < 80

    again = begin("again", "two", -1.0)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert "script: resumed at step" in said
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("whole", "again"))
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_a_finished_run_is_not_trained_again(simulated, training, windows, monkeypatch):
    one, history = run([simulated], training, windows)
    monkeypatch.setattr(module, "gradients", None)
    two, history_again = run([simulated], training, windows)
    assert weights(one) == weights(two)
    assert history == history_again


@pytest.mark.parametrize("what", ["lr", "seed", "weights", "data"])
def test_another_run_does_not_resume_this_one(simulated, training, windows, capsys, what):
    run([simulated], training, windows)
    seed, recording = 0, simulated
    if what == "lr":
        training = replace(training, lr=2e-3)
    if what == "data":
        recording = replace(simulated, spike_times=simulated.spike_times + 1e-3)
    if what == "seed":
        seed = 1
    model, sessions = start([recording], seed=5 if what == "weights" else 0)
    train(model, sessions, training, windows, size="smoke", seed=seed, label="other")
    assert "resumed" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_resume_file_is_said_and_training_starts_over(
    simulated, training, windows, scratch, capsys, damage
):
    model, _ = run([simulated], training, windows)
    (path,) = scratch.iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "garbage": b"no" * 999}.get(damage, b"")
    )
    capsys.readouterr()
    again, _ = run([simulated], training, windows)
    said = capsys.readouterr().err
    assert "starting over" in said and path.name in said and "resumed" not in said
    assert weights(again) == weights(model)


def test_a_full_disk_while_saving_keeps_the_last_resume_file(
    simulated, training, windows, scratch, monkeypatch
):
    run([simulated], training, windows)
    (path,) = scratch.iterdir()
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", half_written(torch.save))
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, checkpoint.read(path) | {"step": 99})
    assert path.read_bytes() == before
    assert list(scratch.iterdir()) == [path]


# --- what learns ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_unit_identification_changes_embeddings_only(simulated, training, windows, optimizer):
    model, sessions = start([simulated])
    before = weights(model)
    frozen = replace(training, frozen=-1, optimizer=optimizer, weight_decay=0.1)
    train(model, sessions, frozen, windows, size="smoke", seed=0, label="test")
    assert changed(before, weights(model)) == {"unit_emb", "session_emb"}
    assert all(p.requires_grad for p in model.parameters()), "and leaves nothing frozen"


@pytest.mark.parametrize("frozen, thaws", [(12, False), (11, True)])
def test_the_network_learns_after_the_frozen_steps(simulated, training, windows, frozen, thaws):
    model, sessions = start([simulated])
    before = weights(model)
    run_ = replace(training, frozen=frozen)
    train(model, sessions, run_, windows, size="smoke", seed=0, label="test")
    assert (changed(before, weights(model)) >= set(ELSEWHERE)) == thaws


def test_everything_learns_from_the_first_step(simulated, training, windows):
    model, sessions = start([simulated])
    before = weights(model)
    one = replace(training, steps=1, eval_every=1)
    train(model, sessions, one, windows, size="smoke", seed=0, label="test")
    embeddings = {"unit_emb", "session_emb", "token_type_emb", "latent_emb"}
    assert changed(before, weights(model)) == {*ELSEWHERE, *embeddings}


def test_an_easy_session_is_learned(easy, training, windows):
    longer = replace(
        training, steps=250, batch_size=16, lr=5e-3, embedding_lr=1e-2, hold=0.3, eval_every=250
    )
    model, sessions = start([easy()])
    fixed = latents("smoke", windows)
    before = evaluate.scores(model, fixed, sessions, "test", windows)["easy"]
    history = train(model, sessions, longer, windows, size="smoke", seed=0, label="easy")
    after = evaluate.scores(model, fixed, sessions, "test", windows)["easy"]
    assert before < 0.1
    assert after > 0.5
    assert history[-1]["valid_r2"] > 0.5


def test_two_sessions_train_together(simulated, easy, training, windows):
    model, _ = start([simulated, easy()])
    before = model.session_emb.weight.detach().clone()
    model, history = run([simulated, easy()], replace(training, batch_size=16), windows)
    assert np.isfinite(history[-1]["loss"])
    moved = (model.session_emb.weight - before).abs().max(1).values
    assert (moved[1:] > 0).all()


def test_every_step_drops_units_anew(simulated, training, windows, monkeypatch):
    original, seen = module.keep_units, []

    def recorded(*args):
        seen.append(original(*args))
        return seen[-1]

    monkeypatch.setattr(module, "keep_units", recorded)
    run([simulated], training, windows)
    drawn = {np.array(masks).tobytes() for masks in seen}
    assert len(drawn) == len(seen) == training.steps


def test_dropout_rates_are_those_of_the_run(simulated, training, windows):
    model, _ = run([simulated], replace(training, dropout=(0.125, 0.25, 0.5)), windows)
    assert model.dropout.p == 0.25
    rest = [m for m in model.modules() if isinstance(m, Dropout) and m is not model.dropout]
    assert {m.p for m in rest} == {0.125}
    assert {m.dropout for m in model.modules() if isinstance(m, Attention)} == {0.5}


def test_training_decodes_at_most_the_queries_asked_for(simulated, training, windows, monkeypatch):
    seen = []

    def spy(*arguments, **more):
        batch = cut(*arguments, **more)
        seen.append(batch["target"].shape[1])
        return batch

    monkeypatch.setattr(module, "cut", spy)
    brief = replace(training, steps=2, eval_every=2)
    for queries, shown in ((7, 7), (50, 50), (60, 50), (1000, 100)):  # of 100 samples a second
        seen.clear()
        run([simulated], brief, replace(windows, queries=queries))
        assert set(seen) == {shown}


def a_batch(simulated, windows, starts):
    """A model, the batch of windows at `starts` and what gives parts of it."""
    model, sessions = start([simulated])
    which, fixed = np.zeros(len(starts), dtype=int), latents("smoke", windows)
    part = lambda rows: cut(sessions, which[rows], starts[rows], windows.length) | fixed  # noqa: E731
    return model, part(slice(None)), part


def test_the_loss_is_the_weighted_mean_over_samples(simulated, windows, monkeypatch):
    monkeypatch.setattr(module.threads, "CHUNK", (3, 3))  # 7 windows: the last part is shorter
    model, batch, part = a_batch(simulated, windows, np.arange(7) * 4.1 + 3)
    loss = module.gradients(model.eval(), part, 7, (0,))
    with torch.no_grad():
        prediction = model(**batch).double().numpy()
    target, weight = batch["target"].double().numpy(), batch["weight"].double().numpy()
    assert len(np.unique(weight)) > 2
    total = 0.0
    for i, j in np.ndindex(weight.shape):
        error = prediction[i, j] - target[i, j]
        total += weight[i, j] * (error[0] ** 2 + error[1] ** 2) / 2
    assert loss == pytest.approx(total / weight.sum(), rel=1e-5)

    twin = deepcopy(model)
    error = (twin(**batch) - batch["target"]).square().mean(-1) * batch["weight"]
    (error.sum() / batch["weight"].sum()).backward()
    for one, two in zip(model.parameters(), twin.parameters()):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


def test_a_batch_without_weight_has_no_loss(simulated, windows):
    model, _, part = a_batch(simulated, windows, np.arange(3) * 4.1 + 3)
    no_weight = lambda rows: part(rows) | {"weight": 0 * part(rows)["weight"]}  # noqa: E731
    assert module.gradients(model, no_weight, 3, (0,)) == 0
    assert all((p.grad == 0).all() for p in model.parameters())


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_the_number_of_threads_does_not_show_in_the_bytes(
    simulated, training, windows, scratch, monkeypatch, optimizer
):
    monkeypatch.setattr(module.threads, "CHUNK", (2, 2))
    alike = []
    for n in (1, 2, 3):
        module.threads.use(n)
        monkeypatch.setenv("POYO_SCRATCH", str(scratch / str(n)))
        model, history = run([simulated], replace(training, optimizer=optimizer), windows)
        alike.append((weights(model), history))
    module.threads.use(1)
    assert alike[0] == alike[1] == alike[2]


def test_a_loss_that_is_not_finite_stops_with_the_cure(simulated, training, windows, scratch):
    with pytest.raises(
        FloatingPointError, match=r"test: the loss is (nan|inf) at step \d+; lower"
    ):
        run([simulated], replace(training, lr=1e30), windows)
    assert not list(scratch.glob("*.pt")), "nothing to resume from"


def test_too_short_a_recording_says_so(simulated, training, windows):
    splits = simulated.splits | {"train": intervals(0, 0.5)}
    with pytest.raises(WindowError, match="no train interval"):
        run([replace(simulated, splits=splits)], training, windows)


def test_an_unknown_optimizer_is_named(simulated, training, windows):
    with pytest.raises(ValueError, match=r"'sgd' is unknown; known: muon, adamw, lamb"):
        run([simulated], replace(training, optimizer="sgd"), windows)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_the_learning_rate_rises_holds_and_falls(training, optimizer):
    longer = replace(training, optimizer=optimizer, steps=200, warmup=0.1, hold=0.5)
    factor = np.array([optim.schedule(longer, step)[0] for step in range(200)])
    np.testing.assert_allclose(factor[:20], np.arange(1, 21) / 20)
    np.testing.assert_allclose(factor[20:100], 1.0)
    assert (np.diff(factor[100:]) < 0).all()
    assert factor[149] == pytest.approx(0.5, abs=0.01)
    assert factor[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("name", ["muon", "adamw", "lamb"])
def test_embeddings_have_a_learning_rate_of_their_own(simulated, training, name):
    model, _ = start([simulated])
    training = replace(training, optimizer=name, lr=1.0, embedding_lr=5.0, warmup=0.0)
    optimizers = optim.make(model, training)
    optim.set_step(optimizers, training, 0)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [(id(p), group["lr"]) for group in groups for p in group["params"]]
    assert len(rates) == len(dict(rates)) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        table = name.split(".")[0] in ("unit_emb", "session_emb")
        assert dict(rates)[id(parameter)] == (5.0 if table else 1.0), name


@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (32, 32)])
def test_muon_is_that_of_torch(shape):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.zeros(shape)) for _ in range(2))
    one = optim.Muon([ours], lr=0.1, weight_decay=0.2)
    two = torch.optim.Muon(
        [theirs], lr=0.1, weight_decay=0.2, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(5):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        one.step()
        two.step()
    assert ours.abs().max() > 0.01
    # torch iterates in bfloat16, three digits
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


# --- checkpoints ------------------------------------------------------------------------------


def half_written(save):
    """A torch.save that runs out of disk."""

    def fails(content, file):
        save(content, file)
        file.truncate(file.tell() // 2)
        raise OSError(28, "No space left on device")

    return fails


@pytest.fixture
def pretrained(simulated) -> checkpoint.Checkpoint:
    new = adapt.scratch([simulated], "smoke", seed=3)
    new.about = {"seed": 3, "history": [{"step": 1, "loss": 0.5}]}
    return new


def test_a_checkpoint_comes_back_and_decodes_the_same(pretrained, simulated, windows, tmp_path):
    checkpoint.save(tmp_path / "model.pt", pretrained)
    back = checkpoint.load(tmp_path / "model.pt")
    for name in ("size", "units", "sessions", "about"):
        assert getattr(back, name) == getattr(pretrained, name)
    assert not back.model.training
    session = prepare(simulated, back.units, back.sessions)
    one, two = (
        evaluate.decode(m, latents("smoke", windows), session, intervals(3, 9), windows)
        for m in (pretrained.model, back.model)
    )
    np.testing.assert_array_equal(one.prediction, two.prediction)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_says_so_with_the_cure(pretrained, tmp_path, share):
    path = tmp_path / "model.pt"
    checkpoint.save(path, pretrained)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"model\.pt is not a readable .*`dvc repro`"):
        checkpoint.load(path)


def test_random_bytes_are_no_checkpoint(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "model.pt"
    for _ in range(100):
        path.write_bytes(rng.bytes(int(rng.integers(1, 3000))))
        with pytest.raises(CheckpointError, match="is not a readable checkpoint"):
            checkpoint.load(path)


def test_the_same_content_makes_the_same_bytes(pretrained, tmp_path, monkeypatch):
    """Also from another process: dvc.lock holds the hash of the file."""
    checkpoint.save(tmp_path / "one.pt", pretrained)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    checkpoint.save(tmp_path / "two.pt", pretrained)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_a_missing_checkpoint_says_how_to_make_it(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist; `dvc repro` makes it"):
        checkpoint.load(tmp_path / "model.pt")


def test_a_file_of_something_else_names_what_it_lacks(tmp_path):
    torch.save({"model": {}, "epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="it lacks size, units, sessions, about"):
        checkpoint.load(tmp_path / "other.pt")


def test_a_checkpoint_cannot_run_code(tmp_path):
    torch.save({"model": math.sqrt}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "evil.pt")


def test_weights_of_another_size_are_refused(pretrained, tmp_path):
    pretrained.size = "laptop"
    checkpoint.save(tmp_path / "model.pt", pretrained)
    with pytest.raises(CheckpointError, match="does not fit a laptop model"):
        checkpoint.load(tmp_path / "model.pt")


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(pretrained, tmp_path, monkeypatch):
    path = tmp_path / "models" / "model.pt"
    checkpoint.save(path, pretrained)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", half_written(torch.save))
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, pretrained)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- adapting ---------------------------------------------------------------------------------


def test_adopting_leaves_the_pretrained_model_as_it_was(pretrained, easy, training, windows):
    before, units = weights(pretrained.model), list(pretrained.units.names)
    adopted = adapt.adopt(pretrained, [easy()], seed=0)
    sessions = [prepare(easy(), adopted.units, adopted.sessions)]
    train(adopted.model, sessions, training, windows, size="smoke", seed=0, label="test")
    assert weights(pretrained.model) == before
    assert pretrained.units.names == units


def test_an_adopted_model_knows_only_the_new_sessions(pretrained, easy):
    adopted = adapt.adopt(pretrained, [easy(units=5)], seed=0)
    assert adopted.units.names == ["NA", *(f"easy/{i}" for i in range(5))]
    assert adopted.sessions.names == ["NA", "easy"]
    assert adopted.model.unit_emb.weight.shape[0] == 6
    assert adopted.size == pretrained.size


def test_an_adopted_network_is_the_pretrained_one(pretrained, easy):
    one, two = pretrained.model, adapt.adopt(pretrained, [easy()], seed=0).model
    rest = [name for name in one.state_dict() if name.split(".")[0] not in optim.EMBEDDINGS]
    for name in rest:
        assert torch.equal(one.state_dict()[name], two.state_dict()[name]), name


def test_new_rows_are_drawn_like_the_learned_ones(pretrained, easy):
    with torch.no_grad():
        table = pretrained.model.unit_emb.weight
        table.copy_(3.0 + 0.5 * torch.randn(table.shape, generator=torch.manual_seed(0)))
        table[0] = 100.0  # the row of nobody does not count
    one, same, other = (
        adapt.adopt(pretrained, [easy(units=300)], seed=seed).model.unit_emb.weight.detach()
        for seed in (0, 0, 1)
    )
    learned = pretrained.model.unit_emb.weight.detach()[1:]
    torch.testing.assert_close(one.mean(0), learned.mean(0), atol=0.2, rtol=0)
    assert one.std() == pytest.approx(float(learned.std()), rel=0.15)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_scratch_draws_from_the_seed(easy):
    one, same, other = (adapt.scratch([easy()], "smoke", seed=s).model for s in (0, 0, 1))
    assert weights(one) == weights(same)
    assert changed(weights(one), weights(other)) >= {"unit_emb", "readout"}


# --- few labelled trials ----------------------------------------------------------------------


def test_few_trials_are_train_trials_and_nested(simulated):
    few, more = (adapt.few_trials(simulated, n, 1.0, seed=0) for n in (3, 5))
    train_split = simulated.splits["train"]
    for one, n in ((few, 3), (more, 5)):
        assert len(one.splits["train"]) == n
        inside = [((a >= train_split[:, 0]) & (b <= train_split[:, 1])).any()
                  for a, b in one.splits["train"]]  # fmt: skip
        assert all(inside), "nothing that was held out, nor its margin, is learned from"
        assert {k: v.tobytes() for k, v in one.splits.items() if k != "train"} == {
            k: v.tobytes() for k, v in simulated.splits.items() if k != "train"
        }
    assert set(map(tuple, few.splits["train"])) <= set(map(tuple, more.splits["train"]))
    other = adapt.few_trials(simulated, 3, 1.0, seed=1)
    assert other.splits["train"].tobytes() != few.splits["train"].tobytes()


def test_more_trials_than_there_are_is_an_error_that_says_how_many(simulated):
    with pytest.raises(ValueError, match=r"has \d+ train trials, not 500"):
        adapt.few_trials(simulated, 500, 1.0, seed=0)
