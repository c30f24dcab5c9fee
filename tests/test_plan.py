"""The costed plan: counted operations over the rates of the bench record."""

import json
import sys
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BOOK / "book" / "_ext"))
dln_plan = pytest.importorskip("dln_plan")

NUMBERS = {"steps": 120.0, "memory": 17.0, "busy": 0.98, "blocks": 1.0, "longest": 3.0}


def record(**medians):
    return {"groups": {"a group": [{"name": name, "median_seconds": value} for name, value in medians.items()]}}


def test_hours_are_operations_over_the_measured_rate():
    grid, short, long = dln_plan.jobs_of(record(reduced_step_d_200=12 * 200**3 / 4e10, theory_200=0.25, theory_800=9.0), NUMBERS)
    assert grid.seconds == pytest.approx(12e9 * 120 / 4e10) and grid.bytes == 17 * 8e6
    assert (short.seconds, long.seconds) == (0.25, 9.0)
    rows = {row[0]: row[1:] for row in dln_plan.rows_of([grid, short, long], NUMBERS["busy"])}
    assert rows["work"] == ("100 core-hours", "0.69 core-hours", "25 core-hours")
    assert rows["time on 100 workers"][0] == "61 min" and rows["points a task"] == ("1", "4", "1")


def test_the_largest_measured_size_gives_the_rate():
    several = record(reduced_to_400_neurons=1.0, reduced_step_d_400=1.0, reduced_step_d_800=12 * 800**3 / 5e10)
    assert dln_plan.gradient_rate(dln_plan.medians_of(several)) == (pytest.approx(5e10), 800)


def test_the_committed_record_has_what_the_plan_needs():
    assert len(dln_plan.jobs_of(json.loads((BOOK / "records" / "bench.json").read_text()), NUMBERS)) == 3
    with pytest.raises(KeyError, match="theory_200"):
        dln_plan.jobs_of(record(reduced_step_d_400=1.0), NUMBERS)
