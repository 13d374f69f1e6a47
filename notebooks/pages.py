"""What the site (conf.py) makes of notebooks/rendered, README.md, params.yaml, dvc.yaml and
dvc.lock, as text; and the drawing of the graph. Needs no Sphinx."""

import ast
import csv
import json
import math
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml  # reads the 80 kB of dvc.lock twenty times as fast as ruamel.yaml

ROOT = Path(__file__).resolve().parent.parent
EVERY = "params", "code", "render"  # stages with which every page begins and ends
WAYS = "unit_identification", "finetune", "single_session"
RATES = "batch_size", "optimizer", "lr", "embedding_lr", "warmup", "hold", "weight_decay"
RATES += "dropout", "unit_dropout"
LONG = 12  # more lines of code are folded


def page(text: str, name: str) -> str:
    """The notebook rendered/NAME.ipynb: figures numbered, long code and answers folded, and where
    it comes from in a last section instead of the first line."""
    nb = json.loads(text)
    banner, *cells = nb["cells"]
    figures, drawn = 0, None
    for cell in list(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            if drawn and source.startswith("*"):  # a caption: goes under its picture, over code
                label, figures = f"Figure {int(name[:2])}.{figures + 1}", figures + 1
                drawn["metadata"]["mystnb"] = {"image": {"alt": label}}
                text, _, source = source.partition("\n\n")
                caption = {"id": f"caption-{figures}", "cell_type": "markdown", "metadata": {}}
                caption["source"] = links(f"{{.caption}}\n**{label}.** {text}")
                cells.insert(cells.index(drawn) + 1, caption)
            cell["source"], drawn = links(source), None
            continue
        cell["outputs"] = [as_table(output) for output in cell["outputs"]]
        data = [output.get("data", {}) for output in cell["outputs"]]
        drawn = cell if any("image/png" in forms for forms in data) else drawn
        answers = [tag for tag in cell["metadata"].get("tags", ()) if tag == "hide-output"]
        cell["metadata"]["tags"] = answers + ["hide-input"] * (len(source.splitlines()) > LONG)
    foot = {"id": "foot", "cell_type": "markdown", "metadata": {}}
    (profile,) = re.findall(r"profile \*\*(\w+)", "".join(banner["source"]))
    foot["source"] = provenance(name, profile)
    return json.dumps(nb | {"cells": [*cells, foot]})


def as_table(output: dict) -> dict:
    """An output; of a table that was printed as Markdown, what shows it as a table."""
    text = "".join(output.get("text", ()))
    if not text.startswith("| "):
        return output
    return {"output_type": "display_data", "data": {"text/markdown": text}, "metadata": {}}


def links(text: str) -> str:
    """With links to modules leading to their pages."""
    module = re.compile(r"\]\((?:\.\./)*(poyo/[\w/]+)\.py\)")
    return module.sub(lambda match: f"](/modules/{match[1].replace('/', '.')}.md)", text)


def readme() -> str:
    """README.md as if it lay beside this file; files that are no pages can be downloaded."""
    text = links((ROOT / "README.md").read_text()).replace("](notebooks/", "](")
    file = r"\.github/\w+\.md|[\w/]+\.(?!ipynb|png|md)\w+"
    text = re.sub(rf"\[([^]]*)\]\(({file})\)", r"{download}`\1 <../\2>`", text)
    return text.replace("](figures/", "](../figures/")


def modules() -> dict[str, str]:
    """Module -> its docstring."""
    found = {}
    for path in sorted((ROOT / "poyo").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.get_docstring(ast.parse(path.read_text())) or ""
    return found


@cache
def _yaml(name: str) -> dict:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((ROOT / name).read_text(), loader)["stages"]


@cache
def stages() -> dict[str, dict]:
    """Stage -> what its last run read and wrote, and its parameters."""
    known, found = _yaml("dvc.yaml"), {}
    for name, stage in _yaml("dvc.lock").items():
        if name.split("@")[0] in known:
            reads, writes = ([e["path"] for e in stage.get(key, ())] for key in ("deps", "outs"))
            params = stage.get("params", {}).get("params.yaml", {})
            found[name] = {"reads": reads, "writes": writes, "params": params}
    return found


@cache
def seconds() -> dict[str, float]:
    """Executed notebook -> how long its last run took, on the machine of the results."""
    with (ROOT / "figures/data/seconds.csv").open() as file:
        return {row["page"]: float(row["seconds"]) for row in csv.DictReader(file)}


def minutes(of: Iterable[str]) -> str:
    """How long some stages take together, in words."""
    written = [path for stage in of for path in stages()[stage]["writes"]]
    took = sum(seconds().get(Path(path).stem, 0) for path in written if path.endswith(".ipynb"))
    return f"{took / 60:.0f} min" if took >= 90 else f"{took:.0f} s"


def knobs() -> str:
    """A table of the parameters that params.yaml explains: what each is, the stages that read it,
    the figures that change with it, and how long all that runs again takes."""
    rows, section = ["| parameter | what it is | runs again | figures | time |"], ""
    rows.append("|---|---|---|---|---|")
    for line in (ROOT / "params.yaml").read_text().splitlines():
        found = re.match(r"( *)(\w+):(.*?)(?: # *(.*))?$", line)
        if not found or len(found[1]) > 2:
            continue
        indent, name, _, about = found.groups()
        section = section if indent else name
        key = f"{section}.{name}" if indent else name
        if not about or key in ("profile", "threads"):
            continue
        read_by = [stage for stage in stages() if _reads(stage, key)]
        again = _after(tuple(read_by))
        drawn = sorted({p for s in again for p in stages()[s]["writes"] if p.endswith(".png")})
        kinds = dict.fromkeys(f"`{stage.split('@')[0]}`" for stage in read_by)
        about = about.replace("|", "or")
        took = minutes(again).replace(" ", "\N{NO-BREAK SPACE}")  # in a narrow column
        cells = [", ".join(kinds), ", ".join(Path(p).stem for p in drawn), took]
        if not again and (stage := _asked(section)):
            cells = [f"`dvc repro -f -s {stage}`, when asked", "", ""]
        rows.append(" | ".join([f"| `{key}`", about, *cells]) + " |")
    return "\n".join(rows)


def recipes() -> str:
    """A table of what models are trained by, in the committed profile and in that of the paper."""
    ways = []
    for name in ("params.yaml", "profiles/paper.yaml"):
        params = yaml.safe_load((ROOT / name).read_text())
        pretraining = params["pretrain"] | params["models"]["poyo_mp"]
        ways.append({"pretraining": pretraining} | {way: params["adapt"][way] for way in WAYS})
    rows = ["| | " + " | ".join(way.replace("_", " ") for way in ways[0]) + " |"]
    rows.append("|---" * (1 + len(ways[0])) + "|")
    for key in ("size", "steps", *RATES):
        cells = [[str(some[way].get(key, "")) for some in ways] for way in ways[0]]
        rows.append(
            f"| `{key}` | " + " | ".join(" / ".join(filter(None, c)) for c in cells) + " |"
        )
    return "\n".join(rows)


def _asked(section: str) -> str:
    """The stage, run when asked for, whose page reads a section of params.yaml; "" is none."""
    pages = {f"asked@{key}": page for key, page in _yaml("dvc.yaml")["asked"]["foreach"].items()}
    for stage, page in {"speed": "10_speed", **pages}.items():
        if f"params.{section}" in (ROOT / f"notebooks/{page}.py").read_text():
            return stage
    return ""


def _reads(stage: str, key: str) -> bool:
    """Whether a stage reads a parameter, the section that it is in, or a part of it; or is one of
    a matrix over it."""
    if f"${{{key}}}" in _yaml("dvc.yaml")[stage.split("@")[0]].get("matrix", {}).values():
        return True
    listed = set(stages()[stage]["params"]) - {"profile"}
    return any(f"{a}.".startswith(f"{b}.") for one in listed for a, b in ((one, key), (key, one)))


@cache  # most parameters of a section are read by the same stages
def _after(some: tuple[str, ...]) -> list[str]:
    """These stages and all that read, directly or not, what they write; without `render`."""
    known, new = list(some), list(some)
    while new:
        written = [path for stage in new for path in stages()[stage]["writes"]]
        new = [
            stage
            for stage, its in stages().items()
            if stage not in known and stage.split("@")[0] not in EVERY
            and any(_within(a, b) for a in its["reads"] for b in written)
        ]  # fmt: skip
        known += new
    return known


def _within(a: str, b: str) -> bool:
    """Whether one of two paths holds the other."""
    return f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")


def _writer(path: str) -> str:
    return next((name for name, stage in stages().items() if path in stage["writes"]), "")


def provenance(name: str, profile: str) -> str:
    """The stage that ran a page, how long that took, what it read and wrote, and the page's last
    commit."""
    path = f"notebooks/rendered/{name}.ipynb"
    rendered = stages().get(_writer(path), {"reads": []})
    executed = [read for read in rendered["reads"] if read.startswith("runs/notebooks/")]
    ran = _writer(executed[0]) if executed else _writer(path)
    stage = stages().get(ran, {"reads": [], "writes": [], "params": {}})

    def shown(paths: list[str]) -> str:
        every = tuple(f"runs/{stage}" for stage in EVERY)
        paths = [p for p in paths if not p.endswith(".ipynb") and not p.startswith(every)]
        in_git = {p for p in paths if p.startswith("figures/") and (ROOT / p).is_file()}
        link = "{{download}}`{0} <../../{0}>`".format
        return ", ".join(link(p) if p in in_git else f"`{p}`" for p in paths)

    log = ["git", "log", "-1", "--format=, commit %h of %cs", "--", path]
    commit = subprocess.run(log, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    took = minutes([ran]) if ran else ""
    rows = {
        "Stage": f"`{ran}`" * bool(ran),
        "Profile": f"`{profile}`",
        "Took": f"{took}, on two CPU cores" * (took not in ("", "0 s")),  # of some it is not known
        "Reads": shown(stage["reads"]),
        "Writes": shown(stage["writes"]),
        "This page": f"{{download}}`{path} <{name}.ipynb>`{commit}",
    }
    text = "## Where this page comes from\n\n| | |\n|---|---|\n"
    text += "".join(f"| {key} | {value} |\n" for key, value in rows.items() if value)
    if stage["params"]:
        params = yaml.safe_dump(stage["params"], sort_keys=False, default_flow_style=None)
        text += "\n<details><summary>The parameters of the stage</summary>\n\n"
        text += f"```yaml\n{params}```\n\n</details>\n"
    return text


def graph() -> dict[str, set[str]]:
    """Stage -> the stages whose files it reads, but for those that another of them needs, too.
    The stages of a matrix are one."""
    matrices = {name for name, stage in _yaml("dvc.yaml").items() if "matrix" in stage}
    named = {}  # a stage -> its name in the drawing
    for name in stages():
        kind = name.split("@")[0]
        if kind not in EVERY:
            named[name] = kind if kind in matrices else name
    needs: dict[str, set[str]] = {kind: set() for kind in named.values()}
    for name, kind in named.items():
        for other, source in named.items():
            pairs = [(a, b) for a in stages()[name]["reads"] for b in stages()[other]["writes"]]
            if any(_within(a, b) for a, b in pairs) and source != kind:
                needs[kind].add(source)

    def all_of(kind: str) -> set[str]:
        return needs[kind].union(*map(all_of, needs[kind]))

    return {kind: direct.difference(*map(all_of, direct)) for kind, direct in needs.items()}


def draw(path: Path) -> None:
    """The graph, from above to below; stages that neither need nor serve another one come last."""
    from matplotlib.figure import Figure

    needs = graph()
    serves = {kind: [other for other in needs if kind in needs[other]] for kind in needs}

    def early(kind: str) -> int:
        return 1 + max(map(early, needs[kind]), default=-1)

    def row(kind: str) -> int:
        alone = not needs[kind] and not serves[kind]
        return len(needs) if alone else min(map(row, serves[kind]), default=early(kind) + 1) - 1

    rows: dict[int, list[str]] = {}
    for kind in needs:
        rows.setdefault(row(kind), []).append(kind)
    lines = []
    for _, kinds in sorted(rows.items()):
        each = math.ceil(len(kinds) / math.ceil(len(kinds) / 5))  # at most five fit beside another
        lines += [kinds[i : i + each] for i in range(0, len(kinds), each)]
    figure = Figure(figsize=(6.2, 0.73 * len(lines)), dpi=72)  # that of an SVG
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(-len(lines), 0))
    ax.axis("off")
    boxes, style = {}, {"boxstyle": "round,pad=0.35", "fc": "white", "ec": "0.4"}
    for y, kinds in enumerate(lines):
        above = {k: [boxes[o].get_position()[0] for o in needs[k]] or [1] for k in kinds}
        kinds.sort(key=lambda kind: sum(above[kind]) / len(above[kind]))  # fewer arrows cross
        for x, kind in enumerate(kinds):
            at = (x + 0.5) / len(kinds), -y - 0.5
            boxes[kind] = ax.text(*at, kind, ha="center", va="center", fontsize=9, bbox=style)
    figure.draw_without_rendering()  # an arrow ends at a box whose size is known
    for kind, box in boxes.items():
        for other in needs[kind]:
            ends = {"patchA": boxes[other].get_bbox_patch(), "patchB": box.get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": "0.5", **ends}
            at, start = box.get_position(), boxes[other].get_position()
            ax.annotate("", at, start, arrowprops=arrow, zorder=1)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
