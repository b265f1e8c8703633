"""Fixtures for all tests: real services on loopback, each gone when the session ends."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas by a function that Python 3.11 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401

from infra.local import start_broker, start_kafka, start_redis
from infra.settings import Settings, load

_KAFKA_BESIDE_US = Path(__file__).parents[2] / "shared" / "kafka" / "start"


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer() -> Iterator[None]:
    """The tests see no HEADRACE_* variable but their own."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("HEADRACE_")]:
            if not variable.startswith("HEADRACE_TEST_"):
                patch.delenv(variable)
        yield


@pytest.fixture(scope="session")
def kafka_script() -> Path:
    """The script that starts Apache Kafka (``HEADRACE_TEST_KAFKA``); without one the test is skipped."""
    script = Path(os.environ.get("HEADRACE_TEST_KAFKA") or _KAFKA_BESIDE_US)
    if not script.is_file() or not shutil.which("java"):
        pytest.skip("no script that starts Apache Kafka (HEADRACE_TEST_KAFKA), or no java")
    return script


@pytest.fixture(scope="session", params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a broker: the embedded one, then Apache Kafka where it is present."""
    folder = tmp_path_factory.mktemp("broker")
    if request.param == "embedded":
        service = start_broker(folder)
    else:
        service = start_kafka(request.getfixturevalue("kafka_script"), folder)
    with service:
        yield service.address


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of an embedded broker, for what need not run against both."""
    with start_broker(tmp_path_factory.mktemp("embedded")) as service:
        yield service.address


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis of the tests' own."""
    with start_redis(tmp_path_factory.mktemp("redis")) as service:
        yield f"redis://{service.address}/0"


@pytest.fixture
def topic_prefix() -> str:
    """A topic prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture
def settings(broker: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings that point at the services of the tests, under a fresh prefix and data folder."""
    flags = {
        "broker": broker,
        "redis": redis_url,
        "web": "127.0.0.1:0",
        "data_dir": str(tmp_path / "data"),
        "topic_prefix": topic_prefix,
    }
    return load(flags, environ={})
