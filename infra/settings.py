"""One frozen settings object, from defaults < TOML file < environment < flags. The only reader of the environment.

``load`` merges the layers, ``with_settings`` adds the shared flags to a command. Whatever is not known is refused, with
the nearest known name; the password of a Redis URL never reaches a message or a ``repr``.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec
import platformdirs

from infra import addresses
from infra.addresses import redact, split_address
from online_models.errors import SettingsError
from streams.app.config import WorkerConfig
from streams.config import PipelineConfig
from streams.contracts.topics import Topics

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_VARIABLE = "HEADRACE_CONFIG"
TEST_VARIABLES = "HEADRACE_TEST_"
"""Variables that start so belong to the tests and are none of ours."""
_NAMED, _FILE = "headrace.named", "headrace.file"


def default_data_dir() -> Path:
    """The folder of snapshots and models when none is set."""
    return Path(platformdirs.user_data_dir("headrace", appauthor=False))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a process. ``pipeline`` and ``worker`` are the tables of these names in the TOML file."""

    broker: str = "127.0.0.1:9092"
    redis: str = "redis://127.0.0.1:6379/0"
    web: str = "127.0.0.1:6066"
    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    topic_prefix: str = ""
    pipeline: PipelineConfig = msgspec.field(default_factory=PipelineConfig)
    worker: WorkerConfig = msgspec.field(default_factory=WorkerConfig)

    @property
    def brokers(self) -> list[str]:
        """The broker list, one ``host:port`` each."""
        return self.broker.split(",")

    @property
    def web_address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 picks a free one."""
        return split_address(self.web)

    @property
    def topics(self) -> Topics:
        """The topics' names under the prefix."""
        return Topics(self.topic_prefix)

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__} | {"redis": redact(self.redis)}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class _Setting(msgspec.Struct, frozen=True):
    variable: str
    flag: str
    parse: Callable[[str], Any]
    expected: str
    help: str


_SETTINGS = {
    "broker": _Setting(
        "HEADRACE_BROKER", "--broker", addresses.broker, "host:port, comma separated", "Kafka brokers, comma separated."
    ),
    "redis": _Setting("HEADRACE_REDIS", "--redis", addresses.redis, "redis://host:port/database", "URL of the Redis."),
    "web": _Setting(
        "HEADRACE_WEB", "--web", addresses.web, "host:port", "Where a worker's HTTP listens; port 0 picks one."
    ),
    "data_dir": _Setting(
        "HEADRACE_DATA", "--data-dir", addresses.folder, "a folder", "Folder of snapshots and models."
    ),
    "topic_prefix": _Setting(
        "HEADRACE_TOPIC_PREFIX",
        "--topic-prefix",
        addresses.prefix,
        "letters, digits, '.', '_' and '-'",
        "Before every topic.",
    ),
}


def _parse(name: str, text: object, where: str) -> Any:
    setting = _SETTINGS[name]
    remedy = f"correct {where}"
    if not isinstance(text, str):
        raise SettingsError(f"a string ({setting.expected})", f"{type(text).__name__} for {where}", remedy)
    try:
        return setting.parse(text)
    except ValueError:
        shown = redact(text) if name == "redis" else text
        raise SettingsError(setting.expected, f"{shown!r} for {where}", remedy) from None


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "remove it"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {setting.variable: name for name, setting in _SETTINGS.items()}
    for variable in sorted(environ):
        ours = variable.startswith("HEADRACE_") and not variable.startswith(TEST_VARIABLES)
        if ours and variable not in variables and variable != CONFIG_VARIABLE:
            known = [*variables, CONFIG_VARIABLE]
            raise SettingsError(
                f"one of {', '.join(known)}", f"{variable} in the environment", _nearest(variable, known)
            )
    return {
        name: _parse(name, environ[variable], variable) for variable, name in variables.items() if variable in environ
    }


def _refuse_unknown(table: object, kind: object, where: str) -> None:
    """Raise when a table of the file, or one inside it, has a key that its section does not know, or a word that is none of its choices."""
    if not (isinstance(table, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            raise SettingsError(f"one of {', '.join(fields)}", f"{key!r} in {where}", _nearest(key, fields))
        words = [str(word) for word in get_args(fields[key])] if get_origin(fields[key]) is Literal else []
        if words and str(value) not in words:
            raise SettingsError(
                f"one of {', '.join(words)}", f"{value!r} for {key!r} in {where}", _nearest(str(value), words)
            )
        _refuse_unknown(value, fields[key], f"{where}, table {key!r}")


def _over(default: Any, table: object) -> object:
    """A section's defaults with a table of the file over them: one class's defaults differ by where it stands (`far` is not `near`).

    Only sections are merged; a table that is a value by itself, as ``weights``, stands for the whole.
    """
    if not (isinstance(default, msgspec.Struct) and isinstance(table, dict)):
        return table
    return msgspec.structs.asdict(default) | {
        key: _over(getattr(default, key, None), value) for key, value in table.items()
    }


def _converted(name: str, table: object, kind: Any, path: Path) -> Any:
    """A table of the file as its section. Raises SettingsError, which names the setting and shows what it is set to."""
    try:
        return msgspec.convert(_over(kind(), table), kind)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).partition(" - at `$")
    expected = re.sub(r", got `\w+`$", "", expected).removeprefix("Expected ").replace("`", "")
    found: Any = table
    for key, number in re.findall(r"\.(\w+)|\[(\d+)\]", place):
        found = found[key] if key else found[int(number)]
    where = f"{name}{place.rstrip('`').removesuffix('[...]')}"
    raise SettingsError(expected, f"{reprlib.repr(found)} for {where!r} in {path}", "correct the file")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError("a readable settings file", f"{path} ({reason})", "correct the path") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("TOML", f"{path} ({error})", "correct the file") from None
    _refuse_unknown(table, Settings, str(path))
    values: dict[str, Any] = {}
    for name, value in table.items():
        where = f"{name!r} in {path}"
        if name in _SETTINGS:
            values[name] = _parse(name, value, where)
            continue
        values[name] = _converted(name, value, {"pipeline": PipelineConfig, "worker": WorkerConfig}[name], path)
    if "data_dir" in values:
        values["data_dir"] = path.parent / values["data_dir"]
    return values


def load(
    flags: Mapping[str, str | None] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this process. Raises SettingsError, which says what was expected and where the wrong value stood.

    ``flags`` maps field names to the text given, ``config`` is the TOML file (else ``HEADRACE_CONFIG``); a relative
    ``data_dir`` in the file counts from the file's folder. ``environ`` stands in for the environment in tests.
    """
    return Settings(**_given(flags, config, environ))


def _given(
    flags: Mapping[str, str | None] | None, config: Path | None, environ: Mapping[str, str] | None
) -> dict[str, Any]:
    """What is set anywhere, even to its default."""
    environ = os.environ if environ is None else environ
    from_environment = _from_environment(environ)
    config = _file(config, environ)
    by_flag = {
        name: _parse(name, text, _SETTINGS[name].flag) for name, text in (flags or {}).items() if text is not None
    }
    return (_from_file(config) if config else {}) | from_environment | by_flag


def _file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is None and environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE]).expanduser()
    return config


def settings_file() -> Path | None:
    """The settings file of the command that runs, if its user has named one."""
    found: Path | None = click.get_current_context().meta.get(_FILE)
    return found


def named() -> frozenset[str]:
    """The settings that the user of the command that runs has set, even where it is to the default."""
    return frozenset(click.get_current_context().meta.get(_NAMED, ()))


def environment_of(settings: Settings, config: Path | None = None) -> dict[str, str]:
    """The environment of a process that is to have these settings: unlike flags, nobody else can read it.

    Tables come from the file ``config``, if there is one.
    """
    ours = {setting.variable: str(getattr(settings, name)) for name, setting in _SETTINGS.items()}
    return {**os.environ, **ours} | ({CONFIG_VARIABLE: str(config)} if config is not None else {})


class SharedOption(click.Option):
    """An option that every command has."""


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command with the shared flags; it is called with ``settings=Settings``."""

    @functools.wraps(command)
    def run(*args: Any, config: Path | None, **options: Any) -> Any:
        given = _given({name: options.pop(name) for name in _SETTINGS}, config, None)
        meta = click.get_current_context().meta
        meta[_NAMED], meta[_FILE] = given.keys(), _file(config, os.environ)
        return command(*args, settings=Settings(**given), **options)

    def check(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
        if text is not None and parameter.name:
            try:
                _parse(parameter.name, text, parameter.opts[0])
            except SettingsError as error:
                raise click.UsageError(str(error), context) from None
        return text

    options = [
        click.option(
            setting.flag,
            name,
            cls=SharedOption,
            metavar="TEXT",
            callback=check,
            help=f"{setting.help} [{setting.variable}]",
        )
        for name, setting in _SETTINGS.items()
    ]
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    options.append(
        click.option("--config", cls=SharedOption, type=file, help=f"Settings file (TOML). [{CONFIG_VARIABLE}]")
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), run)
