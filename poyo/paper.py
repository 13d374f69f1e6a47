"""What the paper reports, with where each number comes from. Not for: our results.

Azabou et al., "A Unified, Scalable Framework for Neural Population Decoding", NeurIPS 2023
(arXiv 2310.16046); numbers as printed on the authors' page, poyo-brain.github.io.
"""

TABLE_2 = {
    # method -> column -> (R² of velocity, std over the column's sessions)
    "wiener": {"C-CO": (0.8860, 0.0149), "T-CO": (0.6387, 0.0283), "T-RT": (0.5922, 0.0901)},
    "single_session": {
        "C-CO": (0.9682, 0.0111),
        "T-CO": (0.9194, 0.0185),
        "T-RT": (0.7800, 0.0702),
    },
    # pretrained on the sessions of one source, POYO-mp
    "unit_identification": {
        "C-CO": (0.9675, 0.0079),
        "T-CO": (0.9012, 0.0271),
        "T-RT": (0.7759, 0.0471),
    },
    "finetune": {"C-CO": (0.9708, 0.0116), "T-CO": (0.9379, 0.0193), "T-RT": (0.8105, 0.0561)},
}

METHODS = {
    "wiener": "Wiener filter",
    "single_session": "POYO, single session (from scratch)",
    "unit_identification": "POYO, multi-session + unit identification",
    "finetune": "POYO, multi-session + finetune",
}
"""Rows of Table 2 in the paper's order."""
