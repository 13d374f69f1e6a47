"""What the paper reports, with where each number comes from. Not for: our results.

Azabou et al., "A Unified, Scalable Framework for Neural Population Decoding", NeurIPS 2023
(arXiv 2310.16046); numbers as printed on the authors' page, poyo-brain.github.io.
"""

TABLE_1 = [
    # study, regions, tasks, individuals, sessions, units, spikes, behaviour samples
    ("Perich et al.", "M1, PMd", "center-out, random target", 4, 117, 11_557, 143e6, 20e6),
    ("Churchland et al.", "M1", "center-out", 2, 9, 1_728, 706e6, 87e6),
    ("Makin et al.", "M1, S1", "random target", 2, 47, 14_899, 123e6, 15e6),
    ("Flint et al.", "M1", "center-out", 1, 5, 957, 7.9e6, 0.3e6),
    ("NLB-Maze", "M1", "maze", 1, 1, 182, 3.6e6, 6.8e6),
    ("NLB-RTT", "M1, S1", "random target", 1, 1, 130, 1.5e6, 2.8e6),
]
"""The recordings of the paper. Makin et al. are those of O'Doherty & Sabes; hours are not given
but in all: more than 100 of pretraining."""

COLUMNS = {
    "C-CO": "known animal, new day, center-out",
    "T-CO": "new animal, center-out",
    "T-RT": "new animal, random target",
    "NLB-Maze": "known animal, new rig, maze",
    "NLB-RTT": "known animal, new rig, random target",
}
"""The columns of Table 2, in its order; a corpus need not have sessions for all of them."""


def _row(*scores: tuple[float, float] | float) -> dict[str, tuple[float, float | None]]:
    """Cells of a method, in the order of the columns; those of one session have no deviation."""
    columns = list(COLUMNS)[-len(scores) :]
    return {c: s if isinstance(s, tuple) else (s, None) for c, s in zip(columns, scores)}


# Left out as unverified: NDT + linear, NDT supervised and EIT, which are not on the authors' page.
TABLE_2 = {
    # method -> column -> (R² of velocity, std over the column's sessions)
    "wiener": _row((0.8860, 0.0149), (0.6387, 0.0283), (0.5922, 0.0901), 0.7485, 0.5438),
    "gru": _row((0.9308, 0.0257), (0.8041, 0.0232), (0.6967, 0.1011), 0.8887, 0.5951),
    "mlp": _row((0.9498, 0.0119), (0.8577, 0.0242), (0.7467, 0.0771), 0.8794, 0.6953),
    "lfads": _row(0.9062, 0.5931),  # in the page's source, commented out
    "single_session": _row((0.9682, 0.0111), (0.9194, 0.0185), (0.7800, 0.0702), 0.9470, 0.6850),
    # pretrained on the sessions of one source, POYO-mp
    "poyo_mp_unit_identification": _row(
        (0.9675, 0.0079), (0.9012, 0.0271), (0.7759, 0.0471), 0.8962, 0.7107
    ),
    "poyo_mp_finetune": _row((0.9708, 0.0116), (0.9379, 0.0193), (0.8105, 0.0561), 0.9466, 0.7318),
    # pretrained on all sources, POYO-1
    "poyo_1_unit_identification": _row(
        (0.9677, 0.0096), (0.9028, 0.0248), (0.7788, 0.0548), 0.9329, 0.7294
    ),
    "poyo_1_finetune": _row((0.9683, 0.0118), (0.9364, 0.0132), (0.8145, 0.0496), 0.9482, 0.7378),
}
"""Methods and columns without a number are absent."""

METHODS = {
    "wiener": "Wiener filter",
    "gru": "GRU",
    "mlp": "MLP",
    "lfads": "AutoLFADS + linear",
    "ndt": "NDT + linear",
    "ndt_supervised": "NDT, supervised",
    "eit": "EIT",
    "single_session": "POYO, single session (from scratch)",
    "poyo_mp_unit_identification": "POYO-mp + unit identification",
    "poyo_mp_finetune": "POYO-mp + finetune",
    "poyo_1_unit_identification": "POYO-1 + unit identification",
    "poyo_1_finetune": "POYO-1 + finetune",
}
"""Rows of Table 2 in the paper's order."""

TASKS = {"center_out_reaching": "CO", "random_target_reaching": "RT", "maze": "maze"}
"""Short names of the tasks, by that of a recording."""

SCALING = [
    # task, sessions of the model, parameters, training tokens, mean R²: digitised by eye from the
    # authors' page (±0.001)
    ("CO", "one", 3.8e6, None, 0.9346),
    ("CO", "all", 3.8e6, None, 0.9479),
    ("CO", "all", 7.4e6, None, 0.9489),
    ("CO", "all", 13e6, None, 0.9512),
    ("RT", "one", 3.8e6, 1.2e6, 0.8402),
    ("RT", "all RT", 3.8e6, 26e6, 0.8646),
    ("RT", "all", 3.8e6, 134e6, 0.8688),
    ("RT", "all", 7.4e6, 134e6, 0.8721),
    ("RT", "all", 13e6, 134e6, 0.8787),
]

UNIT_IDENTIFICATION = {
    # session -> gradient step -> test R²; from the interactive figure of the authors' page, POYO-1
    "C_CO_20161013": {
        0: -0.02, 50: 0.350, 100: 0.640, 200: 0.873, 300: 0.930, 400: 0.943, 500: 0.951,
        600: 0.952, 800: 0.957, 1000: 0.961,
    },
    "T_RT_20130820": {
        0: 0.0, 50: 0.006, 100: 0.079, 200: 0.478, 300: 0.638, 400: 0.698, 500: 0.722,
        600: 0.735, 800: 0.736, 1200: 0.735,
    },
}  # fmt: skip

CLAIMS = {
    # claim -> (what it says, the paper's evidence, what to know about that evidence)
    "unmatched neurons": (
        "One model decodes many sessions whose neurons are not matched (question 1)",
        "POYO-mp: 100 sessions; POYO-1: 158 sessions, 27,373 units, one set of weights",
        "five of the 100 recordings stand twice in the list",
    ),
    "multi > single": (
        "A multi-session model decodes its sessions better than single-session models of its size",
        "CO 0.948 against 0.935, RT 0.869 against 0.840 (Figure 3)",
        "read off a figure, no intervals over seeds",
    ),
    "better than networks on counts": (
        "A pretrained POYO decodes better than networks on binned counts",
        "finetuned POYO-1, MLP: C-CO 0.968, 0.950; T-CO 0.936, 0.858; T-RT 0.815, 0.747",
        "",
    ),
    "any source": (
        "Spike tokenisation scales across datasets without a fixed input (question 2)",
        "one model for four sources, 100 Hz to 1 kHz, sorted units and threshold crossings",
        "",
    ),
    "more sources": (
        "Pretraining on all sources is better than on one",
        "finetuned, POYO-1 minus POYO-mp: C-CO -0.003, T-CO -0.002, T-RT +0.004, NLB-RTT +0.006",
        "all 37 Indy sessions are in POYO-1's training list, NLB-RTT is probably one of them",
    ),
    "unit id > wiener": (
        "Unit identification alone carries the model to new days and animals (question 3)",
        "T-CO 0.901 against 0.639 of the Wiener filter, T-RT 0.776 against 0.592",
        "the same group's later pipeline gives T-CO 2 to 7 points less",
    ),
    "unit id > single": (
        "Unit identification alone is as good (within 0.02) as a model trained on the session",
        "C-CO 0.968 and 0.968, T-CO 0.901 and 0.919, T-RT 0.776 and 0.780",
        "on T-CO and NLB-Maze the paper's own numbers are below single-session",
    ),
    "finetune > single": (
        "Finetuning is better than training from scratch",
        "T-CO 0.938 against 0.919, T-RT 0.811 against 0.780, NLB-RTT 0.732 against 0.685",
        "C-CO: the held-out sessions are in the public training list of the released weights",
    ),
    "finetune > unit id": (
        "Finetuning adds to unit identification",
        "T-CO +0.037, T-RT +0.035, C-CO +0.003",
        "",
    ),
    "few labels": (
        "With few labelled trials (at most 20) a pretrained model is far ahead of scratch",
        "Figure 4",
        "curves only; no table was found",
    ),
    "few steps": (
        "Unit identification reaches 90 % of the finetuned R² within 200 gradient steps",
        "C-CO: 0.87 of 0.96 at 200 steps; T-RT: 0.48 of 0.74",
        "two sessions, test R² along the way",
    ),
    "more data": (
        "More pretraining sessions make a better model (question 4)",
        "RT 0.840, 0.865, 0.869 at 1.2, 26 and 134 million tokens",
        "read off a figure",
    ),
    "other task helps": (
        "Center-out sessions help random-target decoding",
        "RT 0.869 with CO against 0.865 without",
        "read off a figure",
    ),
    "deeper": (
        "Larger models are better (question 4)",
        "CO 0.948, 0.949, 0.951; RT 0.869, 0.872, 0.879 at 3.8, 7.4 and 13 million parameters",
        "read off a figure",
    ),
    "sessions cluster": (
        "Session embeddings cluster by animal and task",
        "PCA of the 158 session embeddings (Figure 5)",
        "shown, not measured",
    ),
}
