"""What the site is made of (notebooks/pages.py). Sphinx itself builds it in .ci/run, where a
warning, such as a link that leads nowhere, is an error."""

import json
import re
import sys
from itertools import pairwise

import pytest

from poyo import ROOT

sys.path.insert(0, str(ROOT / "notebooks"))
import pages

NAMES = sorted(path.stem for path in (ROOT / "notebooks/rendered").glob("*.ipynb"))


def shown(name: str) -> list[dict]:
    text = (ROOT / f"notebooks/rendered/{name}.ipynb").read_text()
    return json.loads(pages.page(text, name))["cells"]


def test_every_page_is_in_the_index():
    index = (ROOT / "notebooks/index.md").read_text()
    assert set(NAMES) <= set(re.findall(r"\brendered/(\w+)", index))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_keeps_its_cells_and_says_where_it_comes_from(name):
    before = json.loads((ROOT / f"notebooks/rendered/{name}.ipynb").read_text())["cells"]
    *cells, foot = shown(name)
    cells = [cell for cell in cells if not cell["id"].startswith("caption")]
    assert [cell["id"] for cell in cells] == [cell["id"] for cell in before[1:]]
    was = [[*map(pages.as_table, cell.get("outputs", ()))] for cell in before[1:]]
    assert [cell.get("outputs", []) for cell in cells] == was
    assert f"notebooks/rendered/{name}.ipynb" in foot["source"]
    assert "| Profile | `laptop` |" in foot["source"]


def test_the_foot_of_a_page_names_its_stage_files_and_parameters():
    foot = shown("07_scaling")[-1]["source"]
    assert "| Stage | `scaling` |" in foot
    assert "{download}`figures/data/scaling.csv <../../figures/data/scaling.csv>`" in foot
    assert "profile: laptop" in foot
    assert "| Stage | `pretrain@poyo_mp` |" in shown("04_pretrain")[-1]["source"]
    assert "| Stage | `speed` |" in shown("10_speed")[-1]["source"]  # writes its page itself


def test_a_printed_table_is_shown_as_one():
    outputs = [o for cell in shown("10_speed") for o in cell.get("outputs", ())]
    printed = ["".join(output.get("text", "")) for output in outputs]
    assert any(printed) and not any(text.startswith("| ") for text in printed)
    tables = ["".join(o["data"].get("text/markdown", "")) for o in outputs if "data" in o]
    assert any(text.startswith("| ") for text in tables)


def test_tables_of_parameters_say_what_each_does_and_what_differs():
    rows = {row.split(" | ")[0].strip("| `"): row for row in pages.knobs().splitlines()}
    assert "`pretrain`" in rows["windows.length"] and "table2" in rows["windows.length"]
    assert "`dvc repro -f -s asked@scale`" in rows["scale.sessions"]
    assert "| `optimizer` | muon / lamb | adamw / lamb | muon / lamb |" in pages.recipes()


def test_figures_are_numbered_and_long_code_is_folded():
    cells = shown("00_tour")
    text = "".join("".join(cell["source"]) for cell in cells)
    labels = re.findall(r"\*\*(Figure 0\.\d)\.\*\* \*", text)
    assert labels == ["Figure 0.1", "Figure 0.2", "Figure 0.3"]
    captioned = [above for above, cell in pairwise(cells) if cell["id"].startswith("caption")]
    assert [cell["metadata"]["mystnb"]["image"]["alt"] for cell in captioned] == labels
    for cell in cells:
        if cell["cell_type"] == "code":
            long = len("".join(cell["source"]).splitlines()) > pages.LONG
            assert ("hide-input" in cell["metadata"]["tags"]) == long


def test_links_fit_the_site():
    assert pages.links("[x](../poyo/data/a.py), [y](b.ipynb)") == (
        "[x](/modules/poyo.data.a.md), [y](b.ipynb)"
    )
    text = pages.readme()
    assert "](rendered/00_tour.ipynb)" in text and "](../figures/tour.png)" in text
    assert "{download}`CITATION.cff <../CITATION.cff>`" in text
    modules = re.findall(r"\(/modules/([\w.]+)\.md\)", text)
    assert modules and set(modules) <= set(pages.modules())


def test_the_graph_is_drawn_without_what_it_implies(tmp_path):
    needs = pages.graph()
    assert needs["pretrain"] == {"data"}
    assert needs["adapt"] == {"pretrain"}  # data, too, which pretrain implies
    assert not {"code", "params", "render"} & set(needs)
    pages.draw(tmp_path / "graph.svg")
    assert "<svg" in (tmp_path / "graph.svg").read_text()
