"""Training: same seed same bytes, also across a kill; what learns and what is frozen."""

import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poyo import optim, resume, threads
from poyo import train as module
from poyo.config import Windows
from poyo.data.intervals import intervals
from poyo.data.recording import Recording, RecordingError
from poyo.decoder import Decoder
from poyo.model import SIZES, Attention, Network
from poyo.sampling import TrainingWindows, WindowError
from poyo.tokens import tokenize
from poyo.train import fit


def start(recordings, windows, seed=0) -> Decoder:
    """A new decoder of the recordings."""
    return Decoder.new(recordings, size="smoke", windows=windows, seed=seed)


def run(recordings, recipe, windows, *, seed=0):
    """A trained model and its history."""
    decoder = start(recordings, windows)
    return decoder.model, fit(decoder, recordings, recipe, seed=seed, label="test")


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


@pytest.mark.parametrize("valid", ["never", "once"])
def test_where_validation_says_nothing_the_last_weights_stay_and_it_is_said(
    simulated, training, windows, monkeypatch, capsys, valid
):
    seen = []

    def scores(model, *_):
        seen.append(weights(model))
        return {"session": 0.5 if valid == "once" and len(seen) == 1 else np.nan}

    monkeypatch.setattr(module.evaluate, "scores", scores)
    with pytest.warns(RuntimeWarning, match="empty slice"):
        model, _ = run([simulated], training, windows)
    said = "test: validation R² was never a number, so the last weights are kept; give more"
    assert (said in capsys.readouterr().err) == (valid == "never")
    assert valid == "once" or weights(model) == seen[-1]


# --- interrupted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer, frozen, at",  # at: before or after the first validation
    [
        ("muon", False, 1),
        ("muon", False, 7),
        ("adamw", False, 7),
        ("lamb", False, 7),
        ("adamw", True, 1),
        ("lamb", True, 7),
    ],
)
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    simulated, training, identifying, windows, scratch, monkeypatch, capsys, optimizer, frozen, at
):
    training = replace(identifying if frozen else training, optimizer=optimizer)
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
import json, sys
from poyo import train
from poyo.config import Recipe, Windows
from poyo.data.recording import Recording
from poyo.decoder import Decoder

train.SAVE_EVERY = -1.0  # at every step
monday = Recording.load("s.h5")
recipe, windows = Recipe(**json.loads(sys.argv[1])), Windows(**json.loads(sys.argv[2]))
decoder = Decoder.new([monday], size="smoke", windows=windows, seed=0)
train.fit(decoder, [monday], recipe, seed=0, label="script")
"""


def test_a_killed_run_started_again_ends_with_the_same_bytes(
    simulated, training, windows, tmp_path, monkeypatch, capsys
):
    recipe = replace(training, steps=40, eval_every=15)
    whole, history = run([simulated], recipe, windows)
    simulated.save(tmp_path / "s.h5")
    monkeypatch.setenv("POYO_SCRATCH", str(tmp_path / "two"))
    given = [json.dumps(asdict(one)) for one in (recipe, windows)]
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT, *given], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "two").glob("*.pt")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    (left,) = (tmp_path / "two").glob("*.pt")
    assert 0 < resume.read(left)["step"] < 40

    again, history_again = run([Recording.load(tmp_path / "s.h5")], recipe, windows)
    assert "test: resumed at step" in capsys.readouterr().err
    assert history_again == history and weights(again) == weights(whole)


@pytest.fixture
def unignored():
    """Signals as in a terminal: nohup and `&` have the tests ignore some of them."""
    ways = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    ways[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, way) for number, way in ways.items()}
    yield
    for number, way in before.items():
        signal.signal(number, way)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_asked_to_end_keeps_its_last_step(
    simulated, training, windows, scratch, monkeypatch, capsys, unignored, number
):
    whole, history = run([simulated], training, windows)
    monkeypatch.setenv("POYO_SCRATCH", str(scratch / "other"))
    original = optim.set_step
    with monkeypatch.context() as patch:

        def asked(*args):
            original(*args)
            if args[-1] == 7:
                os.kill(os.getpid(), number)

        patch.setattr(optim, "set_step", asked)
        before = signal.getsignal(number)
        with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
            run([simulated], training, windows)
    assert getattr(ended.value, "code", 130) == 128 + number
    assert signal.getsignal(number) == before
    assert "test: asked to end; step 8 is kept" in capsys.readouterr().err
    again, history_again = run([simulated], training, windows)
    assert "test: resumed at step 8" in capsys.readouterr().err
    assert history_again == history and weights(again) == weights(whole)


def test_another_network_of_the_same_name_is_another_training(easy, learning, prepared):
    """As when a cell of a notebook is edited and run again, perhaps after a restart."""
    sessions, windows = prepared(easy()), Windows()

    def typed(file: str = "a cell", body: str = "x + 1", bin: float = 0.05, most: int = 3) -> Path:
        text = f"""
def helper(x):
    return x + {most}

class Base(Network):
    bin = {bin}

class Mine(Base):
    width = property(lambda self: {{"a", "b", "c"}} and {body.replace("x", "1")})

    def forward(self, x):
        return helper({body})
"""
        names = {"Network": Network, "__name__": "__main__"}
        exec(compile(text, file, "exec"), names)
        torch.manual_seed(0)
        rows = {"units": 9, "sessions": 2, "outputs": 2}
        model = names["Mine"](size=SIZES["smoke"], windows=windows, **rows)
        return resume.path_of(model, sessions, learning, windows, 0)

    one = typed()
    assert one == typed() == typed(file="another process's cell")
    others = {typed(body="x + 2"), typed(bin=0.1), typed(most=4)}
    assert len(others) == 3 and one not in others


def test_interactive_resume_files_go_a_week_after_they_were_written(tmp_path, monkeypatch):
    monkeypatch.delenv("POYO_SCRATCH")
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path / "..")
    assert resume.scratch_dir() == Path.cwd() / "runs/scratch/interactive", "installed alone"
    (tmp_path / "notebooks").mkdir()
    folder = resume.scratch_dir()
    assert folder == tmp_path / "runs/scratch/interactive"
    resume.write(folder / "old.pt", {})
    resume.write(folder / "new.pt", {})
    week = 7 * 86400
    os.utime(folder / "old.pt", (time.time() - week - 60,) * 2)
    os.utime(folder / "new.pt", (time.time() - week + 60,) * 2)
    assert [path.name for path in resume.scratch_dir().iterdir()] == ["new.pt"]
    monkeypatch.setenv("POYO_SCRATCH", str(folder))
    os.utime(folder / "new.pt", (0, 0))
    assert resume.scratch_dir() == folder and (folder / "new.pt").exists(), "a stage's stays"


def test_a_finished_run_is_not_trained_again(simulated, training, windows, monkeypatch):
    one, history = run([simulated], training, windows)
    monkeypatch.setattr(module, "gradients", None)
    two, history_again = run([simulated], training, windows)
    assert weights(one) == weights(two)
    assert history == history_again


CHANGES = ["lr", "kind", "seed", "weights", "data", "order", "windows", "code"]


@pytest.mark.parametrize("what", CHANGES)
def test_another_run_does_not_resume_this_one(
    simulated, training, identifying, windows, capsys, monkeypatch, what
):
    run([simulated], training, windows)
    seed, recording = 0, simulated
    if what == "lr":
        training = replace(training, lr=2e-3)
    if what == "data":
        recording = replace(simulated, spike_times=simulated.spike_times + 1e-3)
    if what == "order":  # of units, in the middle of the session only
        units, middle = simulated.spike_units.copy(), len(simulated.spike_units) // 2
        rows = slice(middle, middle + 400)
        units[rows] = units[rows][::-1]
        recording = replace(simulated, spike_units=units)
        assert (units != simulated.spike_units).any()
    if what == "seed":
        seed = 1
    if what == "kind":
        training = identifying
    if what == "windows":
        windows = replace(windows, eval_step=0.25)
    if what == "code":
        monkeypatch.setattr(resume, "code_of", lambda *modules: "other code")
    decoder = start([recording], windows, seed=5 if what == "weights" else 0)
    fit(decoder, [recording], training, seed=seed, label="other")
    assert "resumed" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_resume_file_is_said_and_training_starts_over(
    simulated, training, windows, scratch, capsys, damage
):
    model, _ = run([simulated], training, windows)
    (path,) = scratch.glob("*.pt")
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "garbage": b"no" * 999}.get(damage, b"")
    )
    capsys.readouterr()
    again, _ = run([simulated], training, windows)
    said = capsys.readouterr().err
    assert "starting over" in said and path.name in said and "resumed" not in said
    assert weights(again) == weights(model)


# --- what learns ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_a_frozen_network_stays_and_the_embeddings_learn(
    simulated, identifying, windows, optimizer
):
    decoder = start([simulated], windows)
    before = weights(decoder.model)
    fit(decoder, [simulated], replace(identifying, optimizer=optimizer))
    assert changed(before, weights(decoder.model)) == {"unit_emb", "session_emb"}
    assert all(p.requires_grad for p in decoder.model.parameters()), "and leaves nothing frozen"


def test_everything_learns_from_the_first_step(simulated, training, windows):
    decoder = start([simulated], windows)
    before = weights(decoder.model)
    fit(decoder, [simulated], replace(training, steps=1, eval_every=1))
    embeddings = {"unit_emb", "session_emb", "token_type_emb", "latent_emb"}
    assert changed(before, weights(decoder.model)) == {*ELSEWHERE, *embeddings}


def test_an_easy_session_is_learned(easy, learning, windows):
    longer = replace(learning, steps=120)
    decoder = start([easy()], windows)
    before = decoder.score([easy()])["easy"]
    history = fit(decoder, [easy()], longer)
    assert before < 0.1
    assert decoder.score([easy()])["easy"] > 0.5
    assert history[-1]["valid_r2"] > 0.5
    assert decoder.about == {"recipe": asdict(longer), "seed": 0, "label": ""}


def test_two_sessions_train_together(simulated, easy, training, windows):
    sessions = [simulated, easy()]
    before = start(sessions, windows).model.session_emb.weight
    model, history = run(sessions, replace(training, batch_size=16), windows)
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
    assert {m.dropout for m in model.modules() if isinstance(m, Attention)} == {0.5}


def test_training_decodes_at_most_the_queries_asked_for(simulated, training, windows, monkeypatch):
    seen = []

    def spy(*arguments, **more):
        batch = tokenize(*arguments, **more)
        seen.append(batch["target"].shape[1])
        return batch

    monkeypatch.setattr(module, "tokenize", spy)
    brief = replace(training, steps=2, eval_every=2)
    for queries, shown in ((7, 7), (50, 50), (60, 50), (1000, 100)):  # of 100 samples a second
        seen.clear()
        run([simulated], brief, replace(windows, queries=queries))
        assert set(seen) == {shown}


def a_batch(simulated, windows, starts):
    """A model, the batch of windows at `starts` and what gives parts of it."""
    decoder = start([simulated], windows)
    sessions, which = [decoder.session(simulated)], np.zeros(len(starts), dtype=int)
    part = lambda rows: tokenize(sessions, which[rows], starts[rows], windows.length)  # noqa: E731
    return decoder.model, part(slice(None)), part


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
    message = r"test: the loss or .* is not finite at step \d+, of \d of 4 windows .* lower the"
    with pytest.raises(FloatingPointError, match=message):
        run([simulated], replace(training, lr=1e30), windows)
    assert not list(scratch.glob("*.pt")), "nothing to resume from"


def test_a_loss_that_is_not_finite_names_its_windows_and_spoils_nothing(
    simulated, training, windows, monkeypatch
):
    def spoiled(sessions, which, starts, *rest, **more):
        batch = tokenize(sessions, which, starts, *rest, **more)
        batch["target"][starts > 30] = np.nan  # seconds
        return batch

    monkeypatch.setattr(module, "tokenize", spoiled)
    decoder = start([simulated], windows)
    before, domain = weights(decoder.model), simulated.splits["train"]
    with pytest.raises(FloatingPointError, match="is not finite at step 0") as caught:
        fit(decoder, [simulated], training, label="test")
    _, starts = TrainingWindows([domain], windows.length, 0).batch(0, training.batch_size)
    bad = [f"{simulated.session_id} at {t:.3f} s" for t in starts if t > 30]
    assert 0 < len(bad) < 4, "the test needs some of each"
    assert f"of {len(bad)} of 4 windows ({', '.join(bad)}); look at the data" in str(caught.value)
    assert weights(decoder.model) == before


def test_a_decoder_whose_training_was_interrupted_is_as_before_and_resumes_when_fitted_again(
    simulated, training, windows, scratch, monkeypatch, capsys
):
    whole, history = run([simulated], training, windows)
    monkeypatch.setenv("POYO_SCRATCH", str(scratch / "other"))
    decoder, scores = start([simulated], windows), module.evaluate.scores
    before = weights(decoder.model)

    def interrupted(*arguments):
        scores(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "SAVE_EVERY", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(module.evaluate, "scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(decoder, [simulated], training, label="test")
    assert weights(decoder.model) == before and not decoder.model.training
    assert fit(decoder, [simulated], training, label="test") == history
    assert "test: resumed at step" in capsys.readouterr().err
    assert weights(decoder.model) == weights(whole)


def test_trials_too_short_to_validate_by_say_so_before_training(simulated, training, windows):
    splits = simulated.splits | {"valid": intervals([3.0, 5.0], [3.5, 5.9])}
    with pytest.raises(WindowError, match=r"no validation interval .* R² would be nan; give long"):
        run([replace(simulated, splits=splits)], training, windows)


def test_too_short_a_recording_says_so(simulated, training, windows):
    splits = simulated.splits | {"train": intervals(0, 0.5)}
    with pytest.raises(WindowError, match="no train interval"):
        run([replace(simulated, splits=splits)], training, windows)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_without_any_weight_stops(simulated, training, identifying, windows, frozen):
    spans = simulated.intervals | {"cursor_outlier_segments": simulated.domain}  # of weight 0
    with pytest.raises(RecordingError, match="no sample in its train split counts in the loss"):
        run([replace(simulated, intervals=spans)], identifying if frozen else training, windows)


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
def test_embeddings_have_a_learning_rate_of_their_own(simulated, training, windows, name):
    model = start([simulated], windows).model
    training = replace(training, optimizer=name, lr=1.0, embedding_lr=5.0, warmup=0.0)
    optimizers = optim.make(model.groups(), training)
    optim.set_step(optimizers, training, 0)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [(id(p), group["lr"]) for group in groups for p in group["params"]]
    assert len(rates) == len(dict(rates)) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        table = name.split(".")[0] in ("unit_emb", "session_emb")
        assert dict(rates)[id(parameter)] == (5.0 if table else 1.0), name


def test_muon_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    shapes = (48, 16), (16, 48), (32, 32), (48, 16)  # three of them take their steps together
    ours, theirs = ([torch.nn.Parameter(torch.zeros(s)) for s in shapes] for _ in range(2))
    one = optim.Muon(ours, lr=0.1, weight_decay=0.2)
    two = torch.optim.Muon(
        theirs, lr=0.1, weight_decay=0.2, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(5):
        for a, b in zip(ours, theirs):
            scales = torch.logspace(0, -6, a.shape[1])  # so many digits between singular values
            a.grad = torch.randn(a.shape, generator=generator) * scales
            b.grad = a.grad.clone()
        one.step()
        two.step()
    for a, b in zip(ours, theirs):
        assert a.abs().max() > 0.01
        # torch iterates in bfloat16, three digits
        assert (a - b).norm() < 0.02 * b.norm()
