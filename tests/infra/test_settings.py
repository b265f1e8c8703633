"""Settings: the layers' order, refusal of whatever is not known, and no secret in any message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import msgspec.inspect
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from infra.addresses import redact
from infra.settings import Settings, environment_of, load, named, with_settings
from online_models.errors import SettingsError
from streams.config import PipelineConfig


def write(folder: Path, text: str) -> Path:
    path = folder / "headrace.toml"
    path.write_text(text, "utf-8")
    return path


def test_defaults_are_those_of_the_contract() -> None:
    settings = load(environ={})
    assert settings.broker == "127.0.0.1:9092"
    assert settings.redis == "redis://127.0.0.1:6379/0"
    assert settings.web_address == ("127.0.0.1", 6066)
    assert settings.topic_prefix == ""
    assert settings.topics.events == "events"
    assert settings.data_dir.name == "headrace"
    assert settings.data_dir.is_absolute()
    assert settings.pipeline == PipelineConfig()


def test_each_layer_overrides_the_one_before_it(tmp_path: Path) -> None:
    path = write(tmp_path, 'broker = "file:1"\nweb = "file:1"\nredis = "redis://file/1"\n[pipeline]\nseed = 7\n')
    environ = {"HEADRACE_CONFIG": str(path), "HEADRACE_BROKER": "env:2", "HEADRACE_WEB": "env:2"}
    settings = load({"broker": "flag:3", "web": None}, environ=environ)
    assert (settings.broker, settings.web, settings.redis) == ("flag:3", "env:2", "redis://file/1")
    assert settings.pipeline.seed == 7
    assert settings.pipeline.k == PipelineConfig().k


def test_the_flag_for_the_file_goes_before_the_variable(tmp_path: Path) -> None:
    environ = {"HEADRACE_CONFIG": str(tmp_path / "absent.toml")}
    assert load(config=write(tmp_path, 'topic_prefix = "shop-"'), environ=environ).topics.items == "shop-items"


def test_a_relative_folder_in_the_file_counts_from_the_file(tmp_path: Path) -> None:
    assert load(config=write(tmp_path, 'data_dir = "state"'), environ={}).data_dir == tmp_path / "state"
    assert load(environ={"HEADRACE_DATA": "state"}).data_dir == Path("state")


@pytest.mark.parametrize(
    ("text", "expected", "remedy"),
    [
        ('brokr = "a:1"', "'brokr' in", "did you mean 'broker'?"),
        ("[pipeline]\nsede = 1", "'sede' in", "did you mean 'seed'?"),
        ("[pipeline.sources.knn]\nfad = 1.0", "table 'sources', table 'knn'", "did you mean 'fade'?"),
        ("[pipeline.sources.factors]\nloss = 'isdg'", "'isdg' for 'loss' in", "did you mean 'isgd'?"),
        ("[pipeline.filters]\nconsumed = 3", "3 for 'consumed' in", "remove it"),
        ("[zzz]\nqqq = 1", "'zzz' in", "remove it"),
        ("[worker]\nzzzzzz = 1", "table 'worker'", "remove it"),
    ],
)
def test_an_unknown_key_or_word_is_refused_with_the_nearest_one(
    tmp_path: Path, text: str, expected: str, remedy: str
) -> None:
    with pytest.raises(SettingsError, match="expected one of") as caught:
        load(config=write(tmp_path, text), environ={})
    assert expected in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "broker = 9092",
        "pipeline = 3",
        '[pipeline]\nseed = "x"',
        "broker = ",
        'broker = "a"',
        "[pipeline.sessions]\ngap_s = []",
    ],
)
def test_an_ill_typed_value_is_refused_and_names_the_file(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(config=path, environ={})
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pipeline]\nk = 0", "expected int >= 1, got 0 for 'pipeline.k' in"),
        ("[pipeline]\nk = '20'", "expected int, got '20' for 'pipeline.k' in"),
        ("[pipeline]\nseed = -1", "expected int >= 0, got -1 for 'pipeline.seed' in"),
        ("[pipeline]\nmax_items = 0", "expected int >= 1, got 0 for 'pipeline.max_items' in"),
        ("[pipeline.sessions]\ngap_s = -1800", "got -1800 for 'pipeline.sessions.gap_s' in"),
        ("[pipeline.sources.factors]\ndims = 100000", "expected int <= 1024, got 100000 for 'pipeline.sources.factors.dims' in"),
        ("[pipeline.sources.factors]\nlr = -0.1", "expected float >= 0.0, got -0.1 for 'pipeline.sources.factors.lr' in"),
        ("[pipeline.sources.factors]\nlr = nan", "got nan for 'pipeline.sources.factors.lr' in"),
        ("[pipeline.sources.near]\nhalf_life = inf", "got inf for 'pipeline.sources.near.half_life' in"),
        ("[pipeline.sources.near]\nfade = 1.5", "expected float <= 1.0, got 1.5 for 'pipeline.sources.near.fade' in"),
        ("[pipeline.sources.knn]\nm = 100", "expected one of 8, 16, 32"),
        ("[pipeline.sources]\npopularity = []", "length >= 1, got [] for 'pipeline.sources.popularity' in"),
        ("[pipeline.sources]\npopularity = [10, 0]", "got 0 for 'pipeline.sources.popularity[1]' in"),
        ("[pipeline.sources]\npopularity = [10, 10]", "half-lives that differ"),
        ("[pipeline.blend]\nlr = 0.3", "expected float <= 0.25, got 0.3 for 'pipeline.blend.lr' in"),
        ("[pipeline.weights]\nview = -1", "got {'view': -1} for 'pipeline.weights' in"),
        ("[worker]\nbatch = 0", "expected int >= 1, got 0 for 'worker.batch' in"),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_refused_with_the_bound_and_the_settings_name(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(config=write(tmp_path, text), environ={})
    assert message in str(caught.value)


def test_every_number_among_the_settings_has_bounds() -> None:
    def unbounded(kind: Any, path: str) -> list[str]:
        node = msgspec.inspect.type_info(kind) if isinstance(kind, type) else kind
        if isinstance(node, msgspec.inspect.StructType):
            return [name for field in node.fields for name in unbounded(field.type, f"{path}.{field.encode_name}")]
        if isinstance(node, msgspec.inspect.DictType):
            return unbounded(node.value_type, path)
        if isinstance(node, msgspec.inspect.VarTupleType):
            return unbounded(node.item_type, path)
        if isinstance(node, msgspec.inspect.IntType | msgspec.inspect.FloatType):
            return [path] if (node.ge is None and node.gt is None) or node.le is None else []
        return []

    assert unbounded(PipelineConfig, "pipeline") == []


@pytest.mark.parametrize("source", ["following", "near", "far"])
def test_one_setting_of_a_source_leaves_its_others_as_they_are(source: str, tmp_path: Path) -> None:
    """The three are of one class, and each has defaults of its own."""
    path = tmp_path / "headrace.toml"
    path.write_text(f"[pipeline.sources.{source}]\nfade = 0.5\n\n[pipeline.weights]\nview = 2.0\n")
    loaded = load(config=path, environ={}).pipeline
    default = getattr(PipelineConfig().sources, source)
    assert getattr(loaded.sources, source) == msgspec.structs.replace(default, fade=0.5)
    assert loaded.weights == {"view": 2.0}, "a table of weights stands for the whole"


def test_the_defaults_are_within_their_bounds() -> None:
    assert msgspec.convert(msgspec.to_builtins(PipelineConfig()), PipelineConfig) == PipelineConfig()


def test_a_file_that_is_missing_or_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        load(environ={"HEADRACE_CONFIG": str(tmp_path / "absent.toml")})
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(config=binary, environ={})


def test_an_unknown_variable_is_refused_but_for_those_of_the_tests() -> None:
    with pytest.raises(SettingsError, match="did you mean 'HEADRACE_BROKER'"):
        load(environ={"HEADRACE_BROKERS": "a:1"})
    load(environ={"HEADRACE_TEST_KAFKA": "/x", "OTHER": "y", "HEADRACE_CONFIG": ""})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("broker", bad)
            for bad in ["", "a", "a:", "a:0", "a:65536", "a:1,", "a:1,b", ":1", "a b:1", "[::1:1", "a:1\nb:2"]
        ),
        *(("web", bad) for bad in ["", "6066", "a:1,b:2", "a:-1"]),
        *(
            ("redis", bad)
            for bad in ["", "127.0.0.1:6379", "http://a/0", "redis://", "redis://a:x/0", "redis://a/zero"]
        ),
        *(("topic_prefix", bad) for bad in ["a/b", "a b", "ä", "x" * 201]),
        *(("data_dir", bad) for bad in ["", __file__]),
    ],
)
def test_a_bad_value_is_refused_and_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"--{name}".replace("_", "-")):
        load({name: text}, environ={})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broker", "a:1, b-c.d:65535,[::1]:3"),
        ("web", "0.0.0.0:0"),
        ("web", "[::]:80"),
        ("redis", "rediss://user:word@h:1/2?timeout=1"),
        ("redis", "unix:///run/redis.sock?db=1"),
        ("topic_prefix", ""),
    ],
)
def test_a_good_value_is_taken(name: str, text: str) -> None:
    assert load({name: text}, environ={})


def test_brokers_are_split() -> None:
    assert load({"broker": "a:1, b:2"}, environ={}).brokers == ["a:1", "b:2"]


def test_a_process_finds_the_settings_in_its_environment() -> None:
    flags = {"broker": "a:1", "redis": "redis://:secret@b:2/3", "web": "c:4", "data_dir": "/d", "topic_prefix": "e-"}
    settings = load(flags, environ={})
    assert load(environ=environment_of(settings)) == settings


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load(environ={}).broker = "b:1"  # type: ignore[misc]


@given(st.text("abc:/@?#%!", min_size=1).map(lambda noise: f"s3cr3t{noise}t3rc3s"), st.sampled_from(["u", ""]))
def test_a_password_is_never_shown(password: str, user: str) -> None:
    for url in (f"redis://{user}:{password}@host:6379/0", f"{user}:{password}@host", f"redis:{user}:{password}@host"):
        assert "s3cr3t" not in redact(url)
        assert "t3rc3s" not in redact(url)
        try:
            shown = repr(load({"redis": url}, environ={}))
        except SettingsError as error:
            shown = f"{error} {error.__cause__!r}"
        assert "s3cr3t" not in shown
        assert "t3rc3s" not in shown


@click.command()
@click.argument("word")
@with_settings
def show(word: str, settings: Settings) -> None:
    """Show."""
    click.echo(f"{word} {settings.broker} {settings.pipeline.seed}")


def test_a_command_is_handed_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_BROKER", "env:2")
    path = write(tmp_path, "[pipeline]\nseed = 5")
    assert CliRunner().invoke(show, ["hi", "--config", str(path)]).output == "hi env:2 5\n"
    assert CliRunner().invoke(show, ["hi", "--broker", "flag:3"]).output == "hi flag:3 0\n"


def test_what_is_named_is_known_even_where_it_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @with_settings
    def tell(settings: Settings) -> None:
        click.echo(" ".join(sorted(named())))

    monkeypatch.setenv("HEADRACE_WEB", Settings().web)
    path = write(tmp_path, f'redis = "{Settings().redis}"')
    assert CliRunner().invoke(tell, []).output == "web\n"
    assert CliRunner().invoke(tell, ["--broker", Settings().broker]).output == "broker web\n"
    assert CliRunner().invoke(tell, ["--config", str(path)]).output == "redis web\n"


@pytest.mark.parametrize(
    "arguments",
    [["--broker", "nonsense"], ["--redis", "redis://:pw@h:x"], ["--config", "/absent.toml"], ["--borker", "a:1"]],
)
def test_a_bad_flag_is_wrong_usage(arguments: list[str]) -> None:
    result = CliRunner().invoke(show, ["hi", *arguments])
    assert result.exit_code == 2
    assert "pw" not in result.output


def test_help_names_the_variables() -> None:
    output = CliRunner().invoke(show, ["--help"]).output
    for word in ("--broker", "HEADRACE_DATA", "--topic-prefix", "HEADRACE_CONFIG"):
        assert word in output
