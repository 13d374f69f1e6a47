"""What the paper reports, as paper.yaml holds it, with sources. Not for: our results."""

from .. import ROOT
from ..config import read_yaml

_FACTS = read_yaml(ROOT / "poyo/study/paper.yaml")

# (study, regions, tasks, individuals, sessions, units, spikes, behaviour samples)
TABLE_1 = [tuple(row.values()) for row in _FACTS["table_1"]]
# the columns and the rows of Table 2, in its order, and how they are called in print
COLUMNS: dict[str, str] = _FACTS["columns"]
METHODS: dict[str, str] = _FACTS["methods"]
# method -> column -> (R² of velocity, std over sessions or None); absent where unknown
TABLE_2: dict[str, dict[str, tuple[float, float | None]]] = {
    method: {column: tuple(score) for column, score in row.items()}
    for method, row in _FACTS["table_2"].items()
}
# short names of the tasks, by that of a recording
TASKS: dict[str, str] = _FACTS["tasks"]
# (task, sessions of the model, parameters, training tokens or None, mean R²)
SCALING = [tuple(row.values()) for row in _FACTS["scaling"]]
# session -> gradient step -> test R²
UNIT_IDENTIFICATION: dict[str, dict[int, float]] = _FACTS["unit_identification"]
# claim -> (what it says, the paper's evidence, what to know about that evidence)
CLAIMS = {name: tuple(claim.values()) for name, claim in _FACTS["claims"].items()}
