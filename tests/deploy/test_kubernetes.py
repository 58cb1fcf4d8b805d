"""Manifests that agree with the images and with each other, ask for no rights, and give sessions time to move."""

import json
import subprocess

import pytest
from dockerfile import chain

from deployed import DEPLOY

BASE = ("namespace", "service_account", "models", "deployment", "service", "disruption", "autoscaler", "network")


@pytest.fixture
def manifests(read) -> dict:
    """The manifests of the base by kind."""
    documents = [document for name in BASE for document in read(f"kubernetes/base/{name}.yaml")]
    return {document["kind"]: document for document in documents}


@pytest.fixture
def pod(manifests) -> dict:
    return manifests["Deployment"]["spec"]["template"]


@pytest.fixture
def container(pod) -> dict:
    (only,) = pod["spec"]["containers"]
    return only


def test_kustomization_takes_every_manifest(read):
    (base,) = read("kubernetes/base/kustomization.yaml")
    on_disk = {path.name for path in (DEPLOY / "kubernetes/base").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(base["resources"]) == on_disk == {f"{name}.yaml" for name in BASE}


def test_pod_may_do_nothing_but_run(manifests, pod, container, stages):
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["serviceAccountName"] == manifests["ServiceAccount"]["metadata"]["name"]
    rights = pod["spec"]["securityContext"]
    assert rights["runAsNonRoot"] is True and rights["seccompProfile"] == {"type": "RuntimeDefault"}
    user = [one.text for stage in chain(stages, "serve-cpu") for one in stage.all("USER")][-1]
    assert f"{rights['runAsUser']}:{rights['runAsGroup']}" == user
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert manifests["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_all_that_is_written_goes_to_a_folder_with_a_limit(pod, container):
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert mounts["/models"]["readOnly"] is True
    writable = [volumes[mount["name"]] for mount in mounts.values() if not mount.get("readOnly")]
    assert writable == [volumes["scratch"]] and volumes["scratch"]["emptyDir"]["sizeLimit"]


def test_requests_and_limits_are_said_and_equal(container, read):
    (gpu,) = read("kubernetes/gpu/deployment.yaml")
    for one in (container, gpu["spec"]["template"]["spec"]["containers"][0]):
        assert {"cpu", "memory"} <= one["resources"]["limits"].keys()
        assert one["resources"]["requests"] == one["resources"]["limits"]
    assert gpu["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_torch_has_as_many_threads_as_the_pod_has_cores(container):
    (threads,) = [one for one in container["env"] if one["name"] == "OMP_NUM_THREADS"]
    assert threads["valueFrom"]["resourceFieldRef"] == {"containerName": container["name"], "resource": "limits.cpu"}


@pytest.mark.parametrize(
    ("probe", "path"), [("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
)
def test_probes_ask_the_server_s_own_addresses(container, probe, path):
    assert container[probe]["httpGet"] == {"path": path, "port": "http"}


def test_a_model_has_minutes_to_start_and_a_dead_server_is_found_within_one(container):
    start, live = container["startupProbe"], container["livenessProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 600
    assert live["periodSeconds"] * live["failureThreshold"] <= 60


def test_ports_agree_from_image_to_service(stages, manifests, pod, container):
    (port,) = [one.text for one in stages["serve"].all("EXPOSE")]
    assert container["ports"] == [{"name": "http", "containerPort": int(port)}]
    assert container["args"][container["args"].index("--port") + 1] == port
    assert pod["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true", "prometheus.io/port": port, "prometheus.io/path": "/metrics",
    }  # fmt: skip
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == "http"
    assert [one["port"] for one in manifests["NetworkPolicy"]["spec"]["ingress"][0]["ports"]] == ["http"]


def test_arguments_are_the_image_s_own(stages, container, read):
    (gpu,) = read("kubernetes/gpu/deployment.yaml")
    for target, one in (("serve-cpu", container), ("serve-gpu", gpu["spec"]["template"]["spec"]["containers"][0])):
        command = [one.text for stage in chain(stages, target) for one in stage.all("CMD")][-1]
        words = json.loads(command)
        assert one["args"][: len(words)] == words
        assert one["args"][-2:] == ["--tokens", "/run/roadcast/tokens"]


def test_nobody_drives_without_a_token_and_no_token_is_in_a_manifest(manifests, pod, container):
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    (tokens,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "tokens"]
    assert mounts["tokens"] == {"name": "tokens", "mountPath": "/run/roadcast", "readOnly": True}
    assert tokens["secret"]["secretName"] and not tokens["secret"].get("optional")
    assert "Secret" not in manifests


def test_every_selector_finds_the_pod(manifests, pod):
    labels = pod["metadata"]["labels"]
    selectors = [
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *[one["labelSelector"]["matchLabels"] for one in pod["spec"]["topologySpreadConstraints"]],
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)


def test_sessions_get_time_to_move(manifests, pod, container):
    update = manifests["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxSurge": 1, "maxUnavailable": 0}
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] >= pause + 30


def test_a_client_that_comes_back_finds_its_replica(manifests):
    assert manifests["Service"]["spec"]["sessionAffinity"] == "ClientIP"


def test_replicas_follow_the_sessions_and_go_slowly(manifests, container):
    deployment, scaler = manifests["Deployment"], manifests["HorizontalPodAutoscaler"]["spec"]
    assert "replicas" not in deployment["spec"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": deployment["metadata"]["name"],
    }  # fmt: skip
    assert scaler["metrics"][0]["pods"]["metric"]["name"] == "roadcast_sessions_open"
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    seats = int(container["args"][container["args"].index("--seats") + 1])
    aim = int(scaler["metrics"][0]["pods"]["target"]["averageValue"])
    assert aim < seats, "replicas would be full before another one is started"
    down = scaler["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 300 and [one["value"] for one in down["policies"]] == [1]


def test_server_can_call_nobody(manifests):
    policy = manifests["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"} and policy["egress"] == []
    assert all(one["namespaceSelector"]["matchLabels"] for one in policy["ingress"][0]["from"])


def test_gpu_changes_the_deployment_that_there_is(manifests, container, read):
    (kustomization,), (patch,) = read("kubernetes/gpu/kustomization.yaml"), read("kubernetes/gpu/deployment.yaml")
    (base,) = read("kubernetes/base/kustomization.yaml")
    assert (patch["kind"], patch["metadata"]["name"]) == ("Deployment", manifests["Deployment"]["metadata"]["name"])
    assert patch["metadata"]["namespace"] == base["namespace"] == manifests["Namespace"]["metadata"]["name"]
    assert [one["name"] for one in patch["spec"]["template"]["spec"]["containers"]] == [container["name"]]
    assert base["images"][0]["name"] == container["image"]
    assert kustomization["images"][0]["name"] == base["images"][0]["newName"]
    for image in (base["images"][0], kustomization["images"][0]):
        assert image["newTag"][0].isdigit(), "an image without a version is another one tomorrow"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_manifests_fit_the_published_schemas(tool, tmp_path, folder):
    validate, kubectl = tool("kubernetes-validate"), tool("kubectl")
    whole = tmp_path / "all.yaml"
    with whole.open("w") as file:
        subprocess.run([kubectl, "kustomize", str(DEPLOY / "kubernetes" / folder)], check=True, stdout=file)
    done = subprocess.run([validate, "--strict", "-k", "1.34", str(whole)], capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert done.returncode == 0 and told.count(" passed ") == len(BASE), told
