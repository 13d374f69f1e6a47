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


def _row(*scores: tuple[float, float] | float) -> dict[str, tuple[float, float | None]]:
    """Cells of a method, in the order of the columns; those of one session have no deviation."""
    columns = ("C-CO", "T-CO", "T-RT", "NLB-Maze", "NLB-RTT")[-len(scores) :]
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
    "mp_unit_identification": _row(
        (0.9675, 0.0079), (0.9012, 0.0271), (0.7759, 0.0471), 0.8962, 0.7107
    ),
    "mp_finetune": _row((0.9708, 0.0116), (0.9379, 0.0193), (0.8105, 0.0561), 0.9466, 0.7318),
    # pretrained on all sources, POYO-1
    "1_unit_identification": _row(
        (0.9677, 0.0096), (0.9028, 0.0248), (0.7788, 0.0548), 0.9329, 0.7294
    ),
    "1_finetune": _row((0.9683, 0.0118), (0.9364, 0.0132), (0.8145, 0.0496), 0.9482, 0.7378),
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
    "mp_unit_identification": "POYO-mp + unit identification",
    "mp_finetune": "POYO-mp + finetune",
    "1_unit_identification": "POYO-1 + unit identification",
    "1_finetune": "POYO-1 + finetune",
}
"""Rows of Table 2 in the paper's order."""
