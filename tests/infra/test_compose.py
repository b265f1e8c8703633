"""docker-compose.yml: pinned, loopback only, healthy before it is used, and set up with settings that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.archive import default_folder
from infra.archive_store import SERVICE
from infra.cli import COMMANDS
from infra.settings import load

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"topics"}
LASTING = SERVICES.keys() - ONE_SHOT
OURS = {name for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "infra" / "docker" / "Dockerfile").read_text("utf-8")
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*")


def filled_in(text: str) -> str:
    """``${NAME:-default}`` by its default; anything else that compose would ask the environment for is an error."""
    plain = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)
    assert "$" not in plain.replace("$$", ""), f"no default in {text}"
    return plain


def published(service: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Host address, host ports and container port."""
    found = []
    for port in service.get("ports", []):
        match = re.fullmatch(r"([\d.]+):([\d-]+):(\d+)", filled_in(port))
        assert match, f"expected address:port:port, got {port}"
        found.append((match[1], match[2], match[3]))
    return found


def has_health_check(name: str) -> bool:
    check = SERVICES[name].get("healthcheck")
    return not check.get("disable") if check else name in OURS and "\nHEALTHCHECK " in DOCKERFILE


def test_the_services_are_those_that_are_documented() -> None:
    assert SERVICES.keys() == {"kafka", "redis", "topics", "worker", "archive", "prometheus", "grafana"}
    assert {"topics", "worker", "archive"} == OURS
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for name in SERVICES:
        assert f"| `{name}` |" in operations
        for address, ports, _ in published(SERVICES[name]):
            assert f"{address}:{ports.partition('-')[0]}" in operations


@pytest.mark.parametrize("name", SERVICES)
def test_the_image_is_pinned(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


@pytest.mark.parametrize("image", ["redis", "redis:latest", "redis:7", "redis:7.4-bookworm", "redis:alpine"])
def test_an_image_that_is_not_pinned_is_seen(image: str) -> None:
    assert not PINNED.fullmatch(image)


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_beyond_loopback(name: str) -> None:
    assert all(address == "127.0.0.1" for address, _, _ in published(SERVICES[name]))
    assert "network_mode" not in SERVICES[name]
    assert "privileged" not in SERVICES[name]


def test_no_host_port_is_taken_twice() -> None:
    taken: list[int] = []
    for service in SERVICES.values():
        for _, ports, _ in published(service):
            first, _, last = ports.partition("-")
            taken += range(int(first), int(last or first) + 1)
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("name", sorted(LASTING))
def test_a_lasting_service_is_checked_and_started_again(name: str) -> None:
    assert has_health_check(name)
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_a_one_shot_service_is_neither(name: str) -> None:
    assert not has_health_check(name)
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_can_come_about(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
        assert how == {"condition": expected}
        assert needed in ONE_SHOT or has_health_check(needed)


def test_workers_wait_for_all_that_they_need() -> None:
    assert SERVICES["worker"]["depends_on"].keys() == {"kafka", "redis", "topics"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    ports = published(SERVICES["worker"])[0][1].split("-")
    assert int(ports[1]) - int(ports[0]) + 1 >= 4, "one port a worker, up to one worker a partition"


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_settings_exist_and_lead_to_the_other_services(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert all(variable.startswith("HEADRACE_") for variable in environment)
    settings = load(environ=environment)
    [broker] = settings.brokers
    host, _, port = broker.partition(":")
    listeners = SERVICES[host]["environment"]
    assert f"INSIDE://{broker}" in listeners["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://:{port}" in listeners["KAFKA_LISTENERS"].split(",")
    assert re.fullmatch(r"redis://redis:6379/\d", settings.redis)
    assert settings.web_address[0] == "0.0.0.0"  # noqa: S104
    assert SERVICES[name]["command"][0] in COMMANDS


def test_the_worker_listens_where_it_is_published_and_keeps_its_data() -> None:
    worker = SERVICES["worker"]
    settings = load(environ=worker["environment"])
    assert [port for _, _, port in published(worker)] == [str(settings.web_address[1])]
    folders = dict(reversed(volume.split(":")) for volume in worker["volumes"])
    assert str(settings.data_dir) in folders
    cache = re.search(r"NUMBA_CACHE_DIR=(\S+)", DOCKERFILE)
    assert cache
    assert cache[1] in folders, "the root file system is read-only"


def test_the_archive_is_kept_and_looked_for_where_it_is() -> None:
    service = SERVICES["archive"]
    folder = default_folder(load(environ=service["environment"]))
    volumes = dict(reversed(volume.split(":")) for volume in service["volumes"])
    assert str(folder.parent) in volumes
    assert service["healthcheck"]["test"] == ["CMD", "test", "-d", str(folder / SERVICE)]
    assert "['optional-dependencies']['parquet']" in DOCKERFILE


def test_a_client_on_this_machine_is_sent_back_to_the_published_port() -> None:
    kafka = SERVICES["kafka"]
    [(address, outside, inside)] = published(kafka)
    environment = kafka["environment"]
    assert filled_in(environment["KAFKA_ADVERTISED_LISTENERS"]).endswith(f"HOST://{address}:{outside}")
    assert f"HOST://:{inside}" in environment["KAFKA_LISTENERS"].split(",")
    names = {listener.partition(":")[0] for listener in environment["KAFKA_LISTENERS"].split(",")}
    protocols = dict(pair.split(":") for pair in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols.keys() == names


def test_volumes_are_declared_and_used_and_mounted_files_exist() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert rest.endswith(":ro")
            else:
                named.add(source)
    assert named == COMPOSE["volumes"].keys()


def test_there_is_no_secret() -> None:
    for service in SERVICES.values():
        for variable in service.get("environment", {}):
            assert not re.search(r"PASSWORD|SECRET|TOKEN", variable)


def test_grafana_lets_look_and_nothing_else() -> None:
    grafana = SERVICES["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert grafana["GF_AUTH_BASIC_ENABLED"] == "false"


def test_our_image_is_of_this_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    for name in OURS:
        assert SERVICES[name]["image"] == f"headrace:{version[1]}"
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
