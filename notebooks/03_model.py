# %% [markdown]
# # 3. A PerceiverIO over time
#
# > **Question.** How does one network of fixed size turn any number of spikes into movement?\
# > **In the paper:** sections 2.2 to 2.4, the right half of Figure 1.\
# > **Cost** on two CPU cores: less than a minute, once a network is pretrained.
#
# [02_tokens](02_tokens.ipynb) turned one second of recording into a set of tokens. The network has
# to turn that set, of any size, into a velocity at any moment. It does so in three steps
# (PerceiverIO, Jaegle et al. 2021; paper, section 2.2):
#
# 1. **Encode.** A fixed number of latent vectors gather from the tokens what they need.
# 2. **Process.** The latents talk to each other, in several layers.
# 3. **Decode.** A query for each moment reads the latents and becomes a velocity.
#
# All three are **attention**: a vector that wants something (a *query*) is compared with every
# vector that offers something (their *keys*); the better they match, the more of the offer (the
# *value*) it takes. The shares are positive and sum to one. It is done several times side by side,
# with projections of their own: the *heads*.

# %% tags=["parameters"]
seed = 0

# %%
from copy import deepcopy
from dataclasses import asdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from poyo import ROOT, tokens
from poyo.attention import HEAD, attend, rotate, split_heads
from poyo.data import sources
from poyo.decoder import Decoder
from poyo.model import POYO, SIZES

plt.style.use("poyo.study.style")
torch.set_num_threads(1)
torch.manual_seed(seed)
_ = torch.set_grad_enabled(False)

# %% [markdown]
# ## 3.1 A batch goes through
#
# The pretrained network of [04_pretrain](04_pretrain.ipynb), and a batch of windows from one
# session it was trained on (simulated, by default).

# %%
decoder = Decoder.load(ROOT / f"runs/pretrain/poyo_mp/decoder-{seed}.pt")
model, length = decoder.model, decoder.windows.length
recording = sources.load_corpus(ROOT / "runs/data")["pretrain"][0]
session = decoder.session(recording)
reaches = recording.intervals["movement_phases.reach_period"]
B, U = 8, len(recording.unit_ids)
starts = reaches[:B, 0] - 0.1
B = len(starts)
batch = tokens.tokenize([session], np.zeros(B, dtype=int), starts, length)

# %%
time = model.rotary_emb(model.latent_timestamps)
z0 = model.latent_emb(model.latent_index)
real = batch["input_mask"]
names = ("input_unit_index", "input_token_type", "input_timestamps")
unit, kind, when = (batch[name][real] for name in names)
keys_values = model.token_keys_values(unit, kind)
z = model.encode(z0, time, keys_values.clone(), model.rotary_emb(when), real.sum(1).tolist())
processed = model.process(z, time)
y = model(**batch)
rows = [
    ("tokens: unit, time, kind", "(B, N)", batch["input_unit_index"]),
    ("their keys and values, padding left out", "(n, 2HK)", keys_values),
    ("latents before they have read", "(L, D)", z0),
    ("latents after reading", "(B, L, D)", z),
    ("latents after talking to each other", "(B, L, D)", processed),
    ("velocity over its scale", "(B, Q, 2)", y),
]
pd.DataFrame([{"what": w, "letters": s, "shape": tuple(t.shape)} for w, s, t in rows])

# %% [markdown]
# *Shapes along the way: `B` windows, `N` tokens with padding, `n` without it and all windows in a
# row, `L` latents, `Q` queries, `D` the width, `H` heads of `K` numbers.*
#
# In a picture, with the shapes of one window:

# %%
typical, depth = int(real.sum(1).float().mean()), model.size.depth
D, (L, Q) = model.size.dim, (len(z0), y.shape[1])
boxes = {  # center x and y, text, colour
    "spikes": (0, 2, f"spikes\nof {U} units", "0.85"),
    "tokens": (0, 1, f"tokens\n{typical} x {D}", "C0"),
    "latents": (1.6, 2, f"latents\n{L} x {D}\nlearned, on a grid of time", "C1"),
    "encoder": (1.6, 1, "encoder\ncross-attention", "0.85"),
    "processor": (3.2, 1, f"processor\nself-attention,\nlayers: {depth}", "0.85"),
    "queries": (4.8, 2, f"queries\n{Q} x {D}\nsession and time", "C2"),
    "decoder": (4.8, 1, "decoder\ncross-attention", "0.85"),
    "velocity": (6.2, 1, f"velocity\n{Q} x 2", "C2"),
}
arrows = {
    ("spikes", "tokens"): "unit, time, kind", ("tokens", "encoder"): "keys,\nvalues",
    ("latents", "encoder"): "queries", ("encoder", "processor"): f"{L} x {D}",
    ("processor", "decoder"): "keys,\nvalues", ("queries", "decoder"): "queries",
    ("decoder", "velocity"): "linear",
}  # fmt: skip
fig, ax = plt.subplots(figsize=(8.2, 2.7))
for x, level, text, color in boxes.values():
    box = {"boxstyle": "round,pad=0.45", "fc": color, "ec": "0.4", "alpha": 0.4}
    ax.text(x, level, text, ha="center", va="center", fontsize=8, bbox=box)
for (a, b), text in arrows.items():
    (x0, y0, *_), (x1, y1, *_) = boxes[a], boxes[b]
    down = x0 == x1
    start, end = ((x0, y0 - 0.26), (x1, y1 + 0.24)) if down else ((x0 + 0.5, y0), (x1 - 0.56, y1))
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "0.3"})
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    at = (middle[0] + 0.06, middle[1]) if down else (middle[0], middle[1] + 0.06)
    ax.text(*at, text, fontsize=7, color="0.35", ha="left" if down else "center",
            va="center" if down else "bottom")  # fmt: skip
ax.set(xlim=(-0.7, 6.8), ylim=(0.6, 2.4))
ax.set_axis_off()
plt.show()

# %% [markdown]
# *The network, our drawing of the right half of the paper's Figure 1; the number of tokens is the
# mean over the batch, rounded down. Latents and queries are the ones that ask; tokens, and later
# the latents, are what is asked.*
#
# As equations, with tokens $x$, latents $z$, queries $o$ (the embedding of the session, once for
# each moment) and decoded velocities $\hat y$ (after each attention comes a feed-forward network,
# added likewise; norms are left out):
#
# $$z \leftarrow z_0 + \operatorname{CrossAttn}(z_0, x), \qquad
# z \leftarrow z + \operatorname{SelfAttn}(z) \text{ in every layer}, \qquad
# \hat y = W\left(o + \operatorname{CrossAttn}(o, z)\right).$$
#
# The number of latents does not depend on the number of tokens. Between encoder and decoder the
# network never sees a spike again: what is not gathered by the `L` latents is lost.

# %%
steps = round(length / decoder.windows.latent_step)
assert L == model.size.latents_per_step * steps
assert y.shape == (B, Q, 2)
print(f"{int(batch['input_mask'].sum(1).max())} tokens at most, always {L} latents")

# %% [markdown]
# ## 3.2 Why latents have a time
#
# A movement unfolds. What the network should know about 0.2 s into the window differs from what it
# should know about 0.8 s. So its memory is laid out along time: at each of the steps stand the
# same learned vectors, and only their time differs. A latent can then ask for "this sort of spike,
# *shortly before me*", and the same question is asked at every step.
#
# For this, attention has to see time **differences**. That is what rotary embedding does.
#
# ## 3.3 Time is a rotation
#
# Take two of the numbers in a query as a point in the plane and turn it by an angle proportional
# to its time; do the same with the key. The match of the two is a dot product, and a dot product
# only sees the angle *between* them: proportional to the difference of their times (RoPE, Su et
# al. 2021). With $R(t)$ the rotation by time $t$,
#
# $$R(t)\,q \cdot R(s)\,k = q \cdot R(s - t)\,k, \qquad
# R_i(t) = \begin{pmatrix} \cos \omega_i t & -\sin \omega_i t \\
# \sin \omega_i t & \cos \omega_i t \end{pmatrix}, \qquad \omega_i = 2\pi / T_i.$$
#
# Each head has 64 numbers, 32 pairs. Half of the pairs turn, pair $i$ with a **period** $T_i$ of
# its own; the other half do not turn ($\omega_i = 0$) and match whatever the times are: by these a
# latent can ask for a kind of unit at any time, by the others for a time. The longest and the
# shortest period are the authors'; periods of less than a few milliseconds can hardly say anything
# of spikes.

# %%
periods = 2 * np.pi / model.rotary_emb.omega.numpy()[: HEAD // 4].astype(float)
lags = np.linspace(-0.3, 0.3, 601)
waves = np.cos(2 * np.pi * lags[:, None] / periods)
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.3))
left.semilogy(np.arange(1, len(periods) + 1), periods, "o", ms=4)
marks = {"window": length, "latent step": decoder.windows.latent_step, "2 ms": 2e-3}
for name, at in marks.items():
    left.axhline(at, color="0.8", lw=0.8, zorder=0)
    left.text(1, at * 1.15, name, color="0.4", fontsize=8)
left.set(xlabel="rotating pair", ylabel="period (s)", xticks=[1, 6, 11, 16])
right.plot(lags, waves[:, periods > 0.02].mean(1), lw=1)
right.set(xlabel="time difference (s)", ylabel="match of equal vectors")
plt.show()
print(f"{len(periods)} periods, from {periods[0] * 1e3:.1f} ms to {periods[-1]:.2f} s")

# %% [markdown]
# *Left: the periods of the rotating pairs, evenly spaced in the logarithm, with three lengths for
# comparison; a neuron hardly fires twice within 2 ms. Right: how well two equal vectors match at
# different times, averaged over the pairs with periods above 20 ms. Equal times match best;
# further off the match swings, because only these few pairs are averaged. Training decides which
# pairs matter and how they are turned against each other.*
#
# The claim, checked: shift both times alike and the match stays.

# %%
q, k = torch.randn(2, 1000, HEAD)


def match(t, s, rotary=model.rotary_emb):
    """Dot products of q at times t and k at times s."""
    return (rotate(q, rotary(t)) * rotate(k, rotary(s))).sum(-1)


t, s = torch.rand(2, 1000)
error = (match(t, s) - match(t + 0.25, s + 0.25)).abs().max().item()
change = (match(t, s) - match(t + 0.25, s)).abs().mean().item()
print(f"both shifted by 250 ms: matches differ by less than {0.1:g}; typical size {HEAD**0.5:.0f}")
assert error < 0.1 < change
print("only one of them shifted: they change")

# %% [markdown]
# **Values turn as well**, in the encoder and among the latents, and this is particular to POYO. A
# spike at 0.46 s turns its value by 0.46. A latent at 0.50 s turns what it has gathered back by
# 0.50. What is left is a turn by -0.04: "a spike of this kind, 40 ms before me", not "at 0.46 s".
# A latent at 0.20 s gets the same from a spike at 0.16 s. The decoder turns only queries and keys.
#
# (Both checks, above and below, hold up to a small error. Times are 32-bit numbers, exact to some
# 0.06 µs near one second; at a period of 0.1 ms that is a fifth of a degree.)

# %%
turn = model.rotary_emb
relative = rotate(rotate(k, turn(s)), turn(t).conj())
direct = rotate(k, turn(s - t))
assert (relative - direct).abs().max() < 0.1
print("turned by its own time, then back by the reader's: turned by the difference")

# %% [markdown]
# Put together: a latent with query $q$ at time $t$ gathers from tokens at times $s_n$, with keys
# $k_n$ and values $v_n$,
#
# $$R(-t) \sum_n a_n R(s_n)\,v_n, \qquad
# a_n = \operatorname{softmax}_n\left(R(t)\,q \cdot R(s_n)\,k_n / \sqrt{64}\right).$$
#
# `attend` in `poyo/attention.py` is this formula. Here it is written out, for one window and one
# head.

# %%
query, key, value = torch.randn(1, 5, HEAD), *torch.randn(2, 1, 200, HEAD)
t, s = turn(torch.rand(5)), turn(torch.rand(200))  # of the latents, of the tokens
shares = (rotate(query, t) @ rotate(key, s).mT / HEAD**0.5).softmax(-1)
gathered = rotate(shares @ rotate(value, s), t.conj())
torch.testing.assert_close(attend(query, torch.cat([key, value], -1), t, s), gathered)
print("attend is the formula above")

# %% [markdown]
# ## 3.4 Only differences of time count
#
# If attention only sees differences, so does everything built of it. Shift all times of a window,
# of tokens, latents and queries, and the decoded velocity stays. Shift the tokens alone and it
# changes: mostly it is the same velocity, later, as the [exercises](19_exercises.ipynb) show.


# %%
def shifted(seconds, *, tokens_alone):
    """The output when all times of the window, or those of its tokens alone, are later."""
    later = deepcopy(model)
    keys = ["input_timestamps"]
    if not tokens_alone:
        later.latent_timestamps += seconds
        keys += ["output_timestamps"]
    return later(**batch | {key: batch[key] + seconds for key in keys})


def change(other):
    """By how much an output differs from y, as a share of the size of y."""
    return ((other - y).square().mean() / y.square().mean()).sqrt().item()


together = change(shifted(0.5, tokens_alone=False))
alone = change(shifted(0.05, tokens_alone=True))
assert together < 1e-2 and together < alone
print("all times 500 ms later: the same output, to within one percent")
print(f"tokens alone 50 ms later: the output changes by {alone:.0%} of its size")

# %% [markdown]
# ## 3.5 A set has no order
#
# Nothing in attention depends on where in the array a token stands. Shuffle them: same output.

# %%
order = torch.randperm(batch["input_mask"].shape[1])
keys = ["unit_index", "timestamps", "token_type", "mask"]
shuffled = model(**batch | {f"input_{key}": batch[f"input_{key}"][:, order] for key in keys})
torch.testing.assert_close(shuffled, y, rtol=1e-3, atol=1e-4)
print("tokens shuffled, padding among them: the same output")

# %% [markdown]
# ## 3.6 How many parameters
#
# The embeddings of units and sessions grow with the corpus and are counted apart. The rest is
# shared by every neuron that was ever recorded. In the authors' released code the configuration
# for one session is called `poyo_1.3M`, that for many sessions `poyo_11.8M`; the paper's scaling
# figure quotes 3.8, 7.4 and 13 million, with unit embeddings.

# %%
counts = {}
for name, size in SIZES.items():
    net = POYO(size=size, units=1, sessions=1)
    counts[name] = sum(p.numel() for p in net.parameters()) - 2 * size.dim
assert counts["1.3M"] == 1_254_018
assert counts["11.8M"] == 11_717_378
table = pd.DataFrame([{"size": name} | asdict(size) for name, size in SIZES.items()])
table = table.assign(parameters=[counts[name] for name in table["size"]]).sort_values("parameters")
table.assign(parameters=table.parameters.map("{:,}".format)).set_index("size")

# %% [markdown]
# *The sizes in `poyo/model.py`, counted without unit and session embeddings; the paper's names
# 3.8M and 7.4M count them. The network of this page is `small`; the profile `laptop` uses the size
# `laptop` for recordings of your own alone. Heads are always 64 wide, so attention is wider inside
# than the vectors it reads. Those without a number in their name, and `laptop-4`, are ours.*
#
# ## 3.7 What it costs
#
# Attention compares every query with every key, and only these comparisons are counted here; time
# also goes into the feed-forward layers. A plain transformer would let all $N$ tokens
# attend to each other in every layer: depth · $N^2$ comparisons. Here the tokens are read once by
# the latents, and the latents once by the queries: $N L$ + depth · $L^2$ + $Q L$. The number of
# spikes enters linearly.

# %%
big = SIZES["11.8M"]
n = np.geomspace(100, 30_000, 50)
latent = big.latents_per_step * steps
plain, ours = big.depth * n**2, n * latent + big.depth * latent**2 + Q * latent
fig, ax = plt.subplots(figsize=(5.2, 2.6))
ax.loglog(n, plain, color="C3", label="every token with every token, each layer")
ax.loglog(n, ours, color="C0", label="through the latents")
here = int(batch["input_mask"].sum(1).max())
ax.axvline(here, ymax=0.7, color="0.8", zorder=0)
ax.text(here * 1.06, ours[0] / 4, "a window\non this page", color="0.4", fontsize=8)
ax.set(xlabel="tokens in a window", ylabel="comparisons")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# *Comparisons per head for one window at size 11.8M, both axes logarithmic. At that size, with its
# many latents, windows as small as on this page cost about the same either way; latents pay where
# there are more tokens.*

# %%
many = 3000
ratio = big.depth * many**2 / (many * latent + big.depth * latent**2 + Q * latent)
print(f"at {many:,} tokens, as in a second of 200 units: {ratio:.0f} times fewer")

# %% [markdown]
# ## 3.8 What the encoder looks at
#
# The shares of attention can be looked at. We take the encoder's own queries, keys and values and
# compute what the latents gather by the formula of 3.3, and the shares it contains.


# %%
def encoder_attention(window):
    """Shares (H, L, N) of a window's tokens, what they gather (L, D), unit, time and kind (N,)."""
    real = batch["input_mask"][window]
    names = ("input_unit_index", "input_timestamps", "input_token_type")
    unit, at, kind = (batch[name][window][real] for name in names)
    query = model.enc_atn.queries(z0)[None]  # (1, L, HK)
    keys_values = model.token_keys_values(unit, kind)[None]  # (1, N, 2HK)
    gathered = model.enc_atn.to_out(attend(query, keys_values, time, turn(at)))[0]
    query, keys = split_heads(query), split_heads(keys_values.chunk(2, -1)[0])  # (H, 1, L or N, K)
    match = rotate(query, time) @ rotate(keys, turn(at)).mT
    shares = (match / HEAD**0.5).softmax(-1)[:, 0].numpy()
    return shares, gathered, unit.numpy() - session.unit_rows[0], at.numpy(), kind.numpy()


# %% [markdown]
# First, that this is what the network does. Its own code computes the same by a faster way
# (`poyo/kernels.py`): the vectors that are gathered must not differ.

# %%
shares, gathered, unit, at, kind = encoder_attention(0)
read = z0 + gathered
torch.testing.assert_close(read + model.enc_ffn(read), z[0], rtol=1e-3, atol=1e-4)
H = len(shares)
spikes = kind == tokens.SPIKE
print(f"{H} head(s), {L} latents, {len(at)} tokens, {(~spikes).mean():.0%} of them START or END")
for head in range(H):
    edges = shares[head][:, ~spikes].sum(1).mean()
    print(f"head {head + 1}: {edges:.0%} of the attention is on START and END")

# %%
columns = 32
into = np.eye(columns)[(at[spikes] * columns / length).astype(int)]  # (spikes, columns)
heat = shares[:, :, spikes] @ into
when = model.latent_timestamps.numpy()
fig, axes = plt.subplots(1, H, figsize=(6.4, 2.5), sharey=True, squeeze=False)
for head, ax in enumerate(axes[0]):
    edges = np.linspace(0, length, columns + 1)
    image = ax.pcolormesh(edges, range(L + 1), heat[head], vmin=0, vmax=np.quantile(heat, 0.995))
    ax.plot(when, np.arange(L) + 0.5, ".", color="w", ms=2)
    ax.set(title=f"head {head + 1}", xlabel="time of the spikes (s)")
middle = L // steps * (np.arange(steps) + 0.5)
axes[0, 0].set(ylabel="latents, by their time (s)", yticks=middle)
axes[0, 0].set_yticklabels([f"{t:.2f}" for t in np.unique(when)])
fig.colorbar(image, ax=axes, label="share of attention")
plt.show()

# %% [markdown]
# *One window. A row is a latent, from early (below) to late; a column is 1/32 of the window;
# bright is much attention. White dots: the latent's own time. START and END are left out. Dark
# columns are moments with few spikes.*
#
# After pretraining (profile `laptop`) the latents look near their own time, which turning by time
# alone favours (3.3), and they lean to the left of their dots: towards spikes that came *before*,
# which it does not. That fits the simulated neurons, most of which lead the movement; a test of it
# it is not. Heads may differ in how far back they look.
#
# Now over all windows of the batch, by the distance in time; and by unit.

# %%
lag_edges = np.linspace(-0.6, 0.6, 41)
taken, pairs = np.zeros((H, 40)), np.zeros(40)
per_unit, said = np.zeros(U), np.zeros(U)
for window in range(B):
    shares, _, unit, at, kind = encoder_attention(window)
    n, lag = len(at), at - when[:, None]  # (L, N)
    rows = np.broadcast_to(kind == tokens.SPIKE, lag.shape)
    pairs += np.histogram(lag[rows], lag_edges)[0]
    for head in range(H):
        taken[head] += np.histogram(lag[rows], lag_edges, weights=n * shares[head][rows])[0]
    per_unit += np.bincount(unit, shares.mean((0, 1)), U) / B
    said += np.bincount(unit, minlength=U) / n / B
assert np.isclose(per_unit.sum(), 1) and np.isclose(said.sum(), 1)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.5))
for head in range(H):
    left.stairs(
        taken[head] / pairs, lag_edges, color=f"C{head}", label=f"head {head + 1}", baseline=None
    )
left.axhline(1, color="0.7", lw=0.8, ls=":")
left.axvline(0, color="0.7", lw=0.8, ls=":")
left.set(xlabel="spike minus latent time (s)", ylabel="attention per spike, 1 is even")
left.legend(loc="upper right")
right.plot(said, per_unit, "o", ms=4, mfc="none")
right.plot([0, said.max()], [0, said.max()], color="0.7", lw=0.8, ls=":")
right.set(xlabel="unit's share of the tokens", ylabel="unit's share of the attention")
plt.show()
print(f"correlation of the two shares over {U} units: {np.corrcoef(said, per_unit)[0, 1]:.2f}")

# %% [markdown]
# *Left: attention per spike, relative to an even share, by the time between spike and latent.
# Right: a circle per unit; on the dotted line a unit gets the attention that its number of tokens
# would give it if all tokens counted alike. Simulated session, by default.*
#
# A unit that fires more is attended to more, because it has more tokens. The distance from the
# line is what the network has learned about the unit: above it are those whose single spike counts
# for more. Attention is not importance, though: a value may be large or small. Which units matter
# is better asked by leaving them out.
#
# ## What we found

# %%
middle = (lag_edges[1:] + lag_edges[:-1]) / 2
even = np.divide(taken, pairs, out=np.zeros_like(taken), where=pairs > 0)
peaks = [f"{1e3 * middle[head.argmax()]:+.0f} ms" for head in even]
Markdown(
    f"- {L} latents read any number of tokens, {typical} in a window here. At {many:,} "
    f"tokens the paper's model makes {ratio:.0f} times fewer comparisons than a plain transformer "
    "would.\n"
    f"- The same output comes out when all times are shifted alike or tokens are shuffled. Tokens "
    f"that are 50 ms late change it by {alone:.0%} of its size.\n"
    f"- After pretraining, a latent attends to spikes around its own time: most to those at "
    f"{' and '.join(peaks)} from it, by head."
)

# %% [markdown]
# What stays open is which of these parts the network needs: attention shows what is read, not what
# matters. [09_ablations](09_ablations.ipynb) takes the parts away one by one.
#
# Next: [04_pretrain](04_pretrain.ipynb) trains this network on all sessions at once.
