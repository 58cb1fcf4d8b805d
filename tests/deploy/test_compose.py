"""One machine's server and figures: closed to other machines, and each part found where the next one looks for it."""

import re

import pytest

from deployed import DEPLOY


@pytest.fixture
def compose(read) -> dict:
    (document,) = read("compose.yaml")
    return document


def test_every_service_is_shut_in(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cpus"] and service["mem_limit"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert not service.get("privileged"), name


def test_images_have_versions(compose):
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", service["image"])


def test_servers_are_built_from_targets_that_exist(compose, stages):
    built = {name: service["build"] for name, service in compose["services"].items() if "build" in service}
    assert {name: build["target"] for name, build in built.items()} == {
        "roadcast": "serve-cpu",
        "roadcast-gpu": "serve-gpu",
    }
    for build in built.values():
        assert build["target"] in stages
        assert (DEPLOY / build["context"] / build["dockerfile"]) == DEPLOY / ".." / "deploy/Dockerfile"


def test_server_gets_scratch_that_code_may_be_loaded_from_and_time_to_drain(compose):
    for name in ("roadcast", "roadcast-gpu"):
        service = compose["services"][name]
        assert service["volumes"] == ["../models:/models:ro"]
        assert [one for one in service["tmpfs"] if one.startswith("/tmp:") and "exec" in one.split(":")[1].split(",")]
        assert service["stop_grace_period"] == "60s"


def test_mounted_files_exist_and_cannot_be_written(compose):
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source, _, options = volume.split(":", 1)[0], *volume.rpartition(":")[1:]
            if source.startswith("./"):
                assert (DEPLOY / source).exists() and options == "ro", volume
            elif not source.startswith("."):
                assert source in compose["volumes"], volume


def test_prometheus_scrapes_the_server_under_its_name_and_port(compose, read, stages):
    (settings,) = read("prometheus/prometheus.yml")
    (scrape,) = settings["scrape_configs"]
    (target,) = scrape["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    for name in ("roadcast", "roadcast-gpu"):
        assert host in compose["services"][name]["networks"]["inside"]["aliases"]
    assert [port] == [one.text for one in stages["serve"].all("EXPOSE")]
    assert all((DEPLOY / "prometheus" / name).exists() for name in settings["rule_files"])
    assert "--config.file=/etc/prometheus/prometheus.yml" in compose["services"]["prometheus"]["command"]


def test_grafana_finds_prometheus_and_the_dashboard(compose, read):
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")
    (provider,) = read("grafana/provisioning/dashboards/roadcast.yml")
    assert source["datasources"][0]["url"] == "http://prometheus:9090" and "prometheus" in compose["services"]
    grafana = compose["services"]["grafana"]
    folder = provider["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/roadcast.json"


def test_no_password_is_written_down(compose):
    said = [pair for service in compose["services"].values() for pair in service.get("environment", {}).items()]
    secrets = {name: value for name, value in said if re.search("PASSWORD|TOKEN|SECRET", name)}
    assert "GF_SECURITY_ADMIN_PASSWORD" in secrets
    assert all(value.startswith("${") and ":?" in value for value in secrets.values())
