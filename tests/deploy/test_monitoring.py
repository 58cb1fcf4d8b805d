"""Alerts and the dashboard speak of figures that the server has, and of the same limits."""

import re
import subprocess

import pytest

from deployed import DEPLOY

METRICS = {
    "roadcast_sessions_open": set(),
    "roadcast_sessions_total": {"end"},
    "roadcast_first_frame_seconds": {"le"},
    "roadcast_step_seconds": {"le"},
    "roadcast_action_to_frame_seconds": {"le"},
    "roadcast_frame_gap_seconds": {"le"},
    "roadcast_queue_length": set(),
    "roadcast_frames_dropped_total": set(),
    "roadcast_memory_bytes": {"kind"},
    "roadcast_out_of_distribution_total": set(),
    "roadcast_rollbacks_total": set(),
    "roadcast_info": {"version", "model"},
}
"""What the server counts, and the labels it puts on each; Prometheus adds job and instance."""

SERIES = re.compile(r"\b(roadcast_\w+|up)\b(?:\{([^}]*)\})?")
HISTOGRAM = re.compile(r"(_seconds)_(bucket|sum|count)$")


@pytest.fixture
def alerts(read) -> dict[str, dict]:
    (document,) = read("prometheus/alerts.yml")
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


@pytest.fixture
def dashboard(read) -> dict:
    (document,) = read("grafana/dashboards/roadcast.json")
    return document


@pytest.fixture
def shown(dashboard) -> list[str]:
    """Every expression of the dashboard."""
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [*panels, *[one["expr"] for one in dashboard["annotations"]["list"]]]


def check(expression: str) -> set[str]:
    """The server's metrics in an expression, each with labels that it has."""
    named = set()
    for series, selector in SERIES.findall(expression):
        if series != "up":
            metric = HISTOGRAM.sub(r"\1", series)
            assert metric in METRICS, f"{series}: the server has no such metric"
            assert (metric == series) != ("le" in METRICS[metric]), f"{series}: a histogram is read by its parts"
            named.add(metric)
        known = {"instance", "job"} | METRICS.get(HISTOGRAM.sub(r"\1", series), set())
        assert set(re.findall(r"(\w+)(?:=|!=)", selector)) <= known, f"{series}{{{selector}}}"
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        known = {"instance"}.union(*[METRICS[metric] for metric in named])
        assert set(re.split(r",\s*", group)) <= known, f"by ({group}) in {expression}"
    assert named or "up{" in expression, f"{expression}: asks for nothing of roadcast"
    return named


def test_metrics_are_the_server_s_own():
    pytest.importorskip("prometheus_client", reason="needs the extra serve")
    from roadcast.web.metrics import Metrics

    totals = {"counter": "_total"}
    counted = {one.name + totals.get(one.type, "") for one in Metrics(lambda: 0, lambda: 0).registry.collect()}
    assert counted == METRICS.keys()


def test_alerts_ask_for_what_the_server_counts(alerts):
    assert len(alerts) >= 10
    for rule in alerts.values():
        check(rule["expr"])


def test_dashboard_shows_all_that_the_server_counts_and_nothing_else(shown):
    assert set().union(*map(check, shown)) == METRICS.keys()


def test_check_refuses_metrics_and_labels_that_are_not_there():
    for wrong in (
        "roadcast_speed", "roadcast_step_seconds", "roadcast_queue_length_count", "sum by (end) (roadcast_info)",
        "roadcast_info{end=''}", "vector(1)",
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            check(wrong)


def test_alerts_say_what_is_seen_and_what_to_do(alerts):
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert rule["annotations"]["summary"] and rule["annotations"]["action"], name


@pytest.mark.parametrize(
    ("panel", "alert"),
    [
        ("Command to frame", "RoadcastHandsFeelSlow"),
        ("Gap between frames", "RoadcastStutters"),
        ("First frame", "RoadcastFirstFrameSlow"),
        ("Step, p99", "RoadcastStepSlow"),
        ("Out of distribution", "RoadcastUnknownRoad"),
    ],
)
def test_line_on_a_panel_is_the_alert_s_limit(dashboard, alerts, panel, alert):
    (drawn,) = [one for one in dashboard["panels"] if one["title"] == panel]
    line = drawn["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
    assert float(re.search(r"> ([\d.]+)$", alerts[alert]["expr"])[1]) == line


def test_panels_lie_side_by_side_on_the_grid(dashboard):
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_panel_asks_the_chosen_source_and_says_what_it_shows(dashboard):
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["description"] and panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.slow
def test_promtool_takes_settings_and_rules_and_the_alerts_fire_when_they_should(tool):
    promtool, folder = tool("promtool"), DEPLOY / "prometheus"
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_every_expression_of_the_dashboard(tool, shown, tmp_path):
    rules = "groups:\n  - name: shown\n    rules:\n"
    for place, expression in enumerate(shown):
        said = expression.replace("$__rate_interval", "1m").replace("$instance", ".+")
        rules += f"      - {{record: 'shown:{place}', expr: '{said}'}}\n"
    (tmp_path / "shown.yml").write_text(rules)
    done = subprocess.run(
        [tool("promtool"), "check", "rules", "shown.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and f"{len(shown)} rules found" in done.stdout, done.stdout + done.stderr
