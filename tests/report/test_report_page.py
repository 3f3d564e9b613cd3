"""What a report says: every number from the run folder, in words that are true."""

import html
import json
import re

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, InputError, MetricTable, Proposal, load_proposals
from keras_actnas.report import Run, report_page, save_report


def words(page):
    """Returns the text of a page, without markup and style, on one line."""
    without_style = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without_style)).split())


def change(folder, **values):
    """Changes what proposals.json says; None takes it out."""
    path = folder / "proposals.json"
    content = {**json.loads(path.read_text(encoding="utf-8")), **values}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


@pytest.fixture
def small(make_run):
    return make_run("small", sites=6, networks=12)


def test_the_summary_says_how_much_at_what_cost_how_sure(run_folder):
    text = words(report_page(Run.load(run_folder)))
    best = load_proposals(run_folder / "proposals.json")[0]
    latency, score = best.measured["latency"], best.measured["nwot"]
    percent = 100 * (latency.value / 21.6 - 1)
    assert f"{-percent:.1f} % less time" in text
    assert f"ilp-1: {latency.value:.2f} ms rather than 21.60 ms." in text
    assert f"−{-percent + 196 * 0.06 / 21.6:.1f} to −{-percent - 196 * 0.06 / 21.6:.1f} % The 95 % interval" in text
    assert f"{score.value - 203:+.2f} ± 0.80 Not distinguishable from the reference." in text
    assert "Measured on host: 12 runs in turns with the reference." in text
    assert "fine-tune the network before use" in text
    assert "nwot ≥ reference, as measured" in text


def test_it_is_one_file_that_asks_for_nothing(run_folder):
    page = report_page(Run.load(run_folder))
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert "default-src &#x27;none&#x27;" in page
    assert len(page) < 1_000_000


def test_every_network_has_its_line(run_folder):
    page = report_page(Run.load(run_folder))
    for row in load_proposals(run_folder / "proposals.json"):
        assert f'<th scope="row">{row.name}</th><td>{row.measured["latency"].value:.2f}</td>' in page
    for name in ("relu", "hard_swish", "relu6", "leaky_relu"):
        assert f'<th scope="row">all {name}</th>' in page


def test_every_cell_of_every_table_and_every_site_of_every_proposal(small):
    page = report_page(Run.load(small))
    for metric in ("latency", "nwot"):
        table = MetricTable.load(small / "tables" / f"{metric}.json")
        for site in table.sites:
            for column, name in enumerate(table.activations[1:], start=1):
                delta = table.delta[table.sites.index(site), column]
                assert f"<title>{site}, {name}: {delta:+.3g} ±" in page
    for row in load_proposals(small / "proposals.json"):
        for site, name in row.assignment.items():
            assert f"<title>{row.name}, {site}: {name}</title>" in page


def test_estimates_are_called_estimates(make_run):
    text = words(report_page(Run.load(make_run("npu", sites=6, device="vela:ethos-u65-512", exact=True))))
    assert "yolov5n on vela:ethos-u65-512" in text
    assert "An estimate for vela:ethos-u65-512, not a measurement." in text
    assert "latency: estimates for vela:ethos-u65-512, not measured." in text
    assert "latency, predicted and estimated" in text and "predicted and measured" not in text
    assert "gives the same values each time" in text
    assert "Measured on" not in text


def test_a_network_that_was_not_measured_is_predicted(small):
    rows = load_proposals(small / "proposals.json")
    unmeasured = [
        Proposal(row.name, row.assignment, row.predicted, {"nwot": row.measured["nwot"]}).to_json() for row in rows
    ]
    change(small, proposals=unmeasured)
    text = words(report_page(Run.load(small)))
    assert "Predicted by the table; host has not measured this network." in text
    assert "predicted only The network was not built and measured." in text


def test_a_difference_within_its_error_is_no_change(small):
    rows = [row.to_json() for row in load_proposals(small / "proposals.json")]
    rows[0]["measured"]["latency"] = {"value": 21.5, "standard_error": 0.08}
    change(small, proposals=rows)
    text = words(report_page(Run.load(small)))
    assert "How much faster no clear change" in text
    rows[0]["measured"]["latency"] = {"value": 22.5, "standard_error": 0.08}
    change(small, proposals=rows)
    assert "4.2 % more time" in words(report_page(Run.load(small)))


@pytest.mark.parametrize(
    ("value", "higher_is_better", "said"),
    [(210.0, True, "Better"), (190.0, True, "Worse"), (210.0, False, "Worse"), (190.0, False, "Better")],
)
def test_whether_more_of_a_score_is_better_is_the_run_s_to_say(small, value, higher_is_better, said):
    rows = [row.to_json() for row in load_proposals(small / "proposals.json")]
    rows[0]["measured"]["nwot"] = {"value": value, "standard_error": 0.8}
    change(small, proposals=rows, scores={"nwot": {"higher_is_better": higher_is_better}})
    assert f"{value - 203:+.2f} ± 0.80 {said} than the reference.".replace("-", "−") in words(
        report_page(Run.load(small))
    )


def test_it_shows_how_to_apply_the_result(small):
    text = words(report_page(Run.load(small)))
    assert f"--assignment='{small}/proposals.json#ilp-2' --out=ilp-2.keras" in text
    assert f"keras-actnas bench {small}/best.tflite --reference={small}/reference.tflite" in text
    (small / "reference.tflite").unlink()  # Networks of a runtime that these commands do not know.
    assert "keras-actnas bench" not in words(report_page(Run.load(small)))


def test_a_folder_of_an_earlier_version(small):
    """Without what proposals.json says of the device, units, notes and seconds."""
    change(small, device=None, exact=None, estimated=None, units=None, notes=None, seconds=None, seeds=None)
    assert "yolov5n on host" in words(report_page(Run.load(small)))


def test_names_are_escaped(small):
    evil = "<img src=x onerror=alert(1)>"
    identity = json.loads((small / "run.json").read_text(encoding="utf-8"))
    identity["identity"]["model"] = evil
    (small / "run.json").write_text(json.dumps(identity), encoding="utf-8")
    change(small, notes=[f"ilp-1: {evil}"], device=evil)
    page = report_page(Run.load(small))
    assert "<img" not in page
    assert page.count("&lt;img src=x") >= 4


def test_strange_sites_and_unmeasured_cells(small):
    """Sites whose names are markup; a table with holes, without errors."""
    for metric in ("latency", "nwot"):
        path = small / "tables" / f"{metric}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["delta"][2][1], content["standard_error"][2][1] = None, None
        content["standard_error"][3] = [None] * 5
        path.write_text(json.dumps(content), encoding="utf-8")
    page = report_page(Run.load(small))
    assert "model.2.cv1.act, relu: not measured" in page
    text = page.replace("model.2.cv1.act, relu", "")
    assert "nan" not in words(text)


def test_other_objectives_and_more_metrics(small):
    """A search that maximizes the score; a device with a second metric; a constraint that no text can say again."""
    table = MetricTable.load(small / "tables" / "latency.json")
    content = {**table.to_json(), "metric": "sram", "unit": "KiB"}
    (small / "tables" / "sram.json").write_text(json.dumps(content), encoding="utf-8")
    bounds = ["latency <= 90%", "nwot >= 0.5 x reference+3"]
    change(
        small, minimize=None, maximize="nwot", constraints=bounds, units={"latency": "ms", "sram": "KiB", "nwot": ""}
    )
    run = Run.load(small)
    assert list(run.units) == ["nwot", "latency", "sram"]
    text = words(report_page(run))
    assert "maximize nwot" in text and "nwot >= 0.5 x reference+3" in text
    assert "latency ≤ 90%, as measured" in text


def test_a_metric_that_is_zero(make_run):
    """DRAM traffic of a network that fits into the SRAM, as Vela estimates it; changes of it are no shares."""
    folder = make_run("npu", sites=6, networks=12, device="vela:ethos-u55-128", exact=True)
    table = MetricTable.load(folder / "tables" / "latency.json")
    content = {**table.to_json(), "metric": "dram", "unit": "KiB", "reference_value": 0.0}
    (folder / "tables" / "dram.json").write_text(json.dumps(content), encoding="utf-8")
    rows = json.loads((folder / "proposals.json").read_text(encoding="utf-8"))
    zero = {"value": 0.0, "standard_error": 0.0}
    for row in (rows["reference"], *rows["proposals"], *rows["baselines"]):
        row["measured"]["dram"] = row["predicted"]["dram"] = zero
    units = {"dram": "KiB", "latency": "ms", "nwot": ""}
    change(folder, **{**rows, "minimize": "dram", "units": units})
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    latency = [json.loads(line) for line in lines if '"metric":"latency"' in line]
    more = [{**one, "metric": "dram", "unit": "KiB", "samples": [0.0], "reference_samples": [0.0]} for one in latency]
    (folder / "journal.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in latency + more), encoding="utf-8")
    text = words(report_page(Run.load(folder)))
    assert "dram no change ilp-1: 0.0000 KiB rather than 0.0000 KiB." in text
    assert "change of dram against the reference, KiB" in text


# What is no run


def test_no_run_folder(tmp_path, run_folder):
    for path in (tmp_path, tmp_path / "nowhere", run_folder / "run.json"):
        with pytest.raises(InputError, match="Expected the folder of a run. Received: .*, which has no run.json"):
            Run.load(path)


def test_a_run_that_has_not_come_to_an_end(small):
    (small / "proposals.json").unlink()
    with pytest.raises(InputError, match="Expected a run with proposals. Received: .*search` again, and it continues"):
        Run.load(small)


@pytest.mark.parametrize(
    ("change_it", "message"),
    [
        ({"proposals": []}, "with an empty list of them"),
        ({"reference": None}, "Expected proposals that a search verified. Received: .*KeyError"),
        ({"baselines": [3]}, "Expected proposals that a search verified. Received: .*TypeError"),
        ({"reference": {"name": "x"}}, "Expected proposals that a search verified"),
        ({"proposals": [{"name": "x"}]}, "Expected a proposals.json. Received: .*KeyError"),
    ],
)
def test_damaged_proposals(small, change_it, message):
    change(small, **change_it)
    with pytest.raises(InputError, match=message):
        Run.load(small)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "Expected the run.json of a run"),
        ("proposals.json", "{", "Expected a proposals.json"),
        ("journal.jsonl", "{}\n", "Expected a measurement a line. Received: line 1"),
        ("tables/latency.json", "{", "Expected a metric table in JSON. Received: .*latency.json"),
        (
            "tables/latency.json",
            '{"format": 1}',
            "Expected a metric table. Received: .*latency.json .KeyError: 'metric'",
        ),
    ],
)
def test_damaged_files(small, name, content, message):
    (small / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Run.load(small)


def test_no_tables_or_those_of_another_network(small):
    for path in (small / "tables").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="Expected metric tables in .*tables. Received: none"):
        Run.load(small)
    other = Assignment.uniform(["other"], "silu")
    MetricTable("latency", "ms", other, ("silu",), Estimate(1.0), np.zeros((1, 1)), np.zeros((1, 1))).save(
        small / "tables" / "latency.json"
    )
    with pytest.raises(InputError, match="whose latency table is of another"):
        Run.load(small)


def test_a_report_is_written_whole_or_not(small, tmp_path):
    with pytest.raises(InputError, match="can be written"):
        save_report(small, tmp_path / "none" / "report.html")
    save_report(small, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").endswith("</html>\n")
