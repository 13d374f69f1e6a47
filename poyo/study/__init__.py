"""The paper's experiments: baselines, ablations, results and their verdicts, figures, the bench.

The top floor of the package: it uses the method (`poyo`) and the recordings (`poyo.data`), and
nothing there knows of it."""
