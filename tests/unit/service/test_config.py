"""Settings: `.env.example` says all of them, and what comes from outside is judged in one clear line."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.core.admission import Limits
from gateway.service.advice import setting_warnings
from gateway.service.config import ConfigError, Settings, load_settings
from gateway.service.factory import create_service
from tests.support.settings import SECRET, settings_for

EXAMPLE = Path(__file__).resolve().parents[3] / ".env.example"
DEFAULTS: dict[str, Any] = {
    "jwt_issuer": "gathering-gateway",
    "jwt_audience": "gathering-gateway",
    "host": "127.0.0.1",
    "port": 8_000,
    "log_url": "memory://",
    "allowed_origins": (),
    "max_connections_per_user": 30,
    "max_connections_per_address": 1_000,
    "max_connections_per_tenant": 10_000,
    "handshakes_per_minute": 600,
    "commands_per_second": 20,
    "command_burst": 40,
    "events_per_second": 500,
    "publish_per_second": 1_000,
    "publish_burst": 2_000,
    "tokens_per_minute": 600,
    "log_max_events": 10_000,
    "log_max_bytes": 16 * 1024 * 1024,
    "log_min_seconds": 120,
}


def example() -> dict[str, tuple[str, str]]:
    """Each setting of the example by its variable: its default as text, and the comment above it."""
    found: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in EXAMPLE.read_text().splitlines():
        if match := re.fullmatch(r"# (GATEWAY_[A-Z0-9_]+)=(.*)", line):
            assert match[1] not in found, f"{match[1]} twice"
            found[match[1]] = (match[2], " ".join(above))
            above = []
        elif line.startswith("# ") and not line.startswith("# ----"):
            above.append(line[2:])
        else:
            assert line == "" or line.startswith("# ----"), f"not a comment: {line}"
            above = []
    return found


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables and no `.env` of the developer who runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GATEWAY_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_example_has_every_setting_and_no_other_in_the_same_order() -> None:
    """Both ways: one that was added, removed or renamed shows here."""
    assert list(example()) == [f"GATEWAY_{name.upper()}" for name in Settings.model_fields]


def test_the_example_describes_each_setting_as_the_class_does() -> None:
    """One text, in two places."""
    descriptions = {name: example()[f"GATEWAY_{name.upper()}"][1] for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert descriptions[name].startswith(field.description), name


def test_the_examples_values_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back through the class itself: with all of them set nothing changes, but for what is empty and unset."""
    defaults = Settings(_env_file=None)
    for variable, (value, _) in example().items():
        name = variable.removeprefix("GATEWAY_").lower()
        if value == "":
            assert getattr(defaults, name) in (None, ()), variable
        else:
            monkeypatch.setenv(variable, value)
    assert Settings(_env_file=None) == defaults


def test_the_example_as_it_is_changes_nothing(tmp_path: Path) -> None:
    """Copied to `.env`, all of it is comments."""
    (tmp_path / ".env").write_text(EXAMPLE.read_text())
    assert load_settings() == Settings(_env_file=None)


def test_the_example_with_every_line_switched_on_is_good(tmp_path: Path) -> None:
    """The file without its comment signs gives the defaults, once the secret is filled in."""
    text = re.sub(r"^# (GATEWAY_[A-Z0-9_]+=)", r"\1", EXAMPLE.read_text(), flags=re.M)
    (tmp_path / ".env").write_text(text.replace("GATEWAY_JWT_SECRET=", f"GATEWAY_JWT_SECRET={SECRET}"))
    settings = load_settings()
    create_service(settings)
    for name, field in Settings.model_fields.items():
        if name != "jwt_secret":
            assert getattr(settings, name) == field.default, name


def test_the_defaults_are_those_of_the_protocol() -> None:
    """The defaults that other programs rely on."""
    settings = Settings(_env_file=None)
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


def test_a_gateway_built_without_settings_has_the_same_limits() -> None:
    """The library's defaults are those of the settings."""
    settings = Settings(_env_file=None, jwt_secret=SecretStr(SECRET))
    made, default = create_service(settings).gateway.limits, Limits()
    assert {name: getattr(made, name) for name in Limits.__slots__} == {
        name: getattr(default, name) for name in Limits.__slots__
    }


def test_a_burst_of_0_is_no_limit() -> None:
    """Zero means the same for every count and rate; the first frame says so."""
    limits = create_service(settings_for(command_burst=0)).gateway.limits
    assert limits.commands_per_second == 0


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """With spaces and empty parts passed over."""
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", " https://a.example, https://b.example ,,")
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,2001:db8::1")
    monkeypatch.setenv("GATEWAY_JWT_PREVIOUS_SECRETS", "one,two")
    settings = load_settings()
    assert settings.allowed_origins == ("https://a.example", "https://b.example")
    assert [str(network) for network in settings.proxies] == ["10.0.0.0/8", "2001:db8::1/128"]
    assert [secret.get_secret_value() for secret in settings.jwt_previous_secrets] == ["one", "two"]


def test_arguments_override_the_environment_and_that_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arguments, then the environment, then the file."""
    (tmp_path / ".env").write_text("GATEWAY_PORT=1111\nGATEWAY_HOST=::1\nOTHER=x\n")
    monkeypatch.setenv("GATEWAY_PORT", "2222")
    assert (load_settings().port, load_settings().host) == (2222, "::1")
    assert load_settings(port=3333).port == 3333


WRONG = [
    ("GATEWAY_PORT", "eighty"),
    ("GATEWAY_PORT", "65536"),
    ("GATEWAY_PORT", "-1"),
    ("GATEWAY_MAX_CONNECTIONS_PER_USER", "-1"),
    ("GATEWAY_MAX_CONNECTIONS_PER_USER", "many"),
    ("GATEWAY_COMMANDS_PER_SECOND", "-0.5"),
    ("GATEWAY_COMMANDS_PER_SECOND", "nan"),
    ("GATEWAY_PING_INTERVAL", "0"),
    ("GATEWAY_LOG_MAX_EVENTS", "0"),
    ("GATEWAY_MAX_MESSAGE_BYTES", "1"),
    ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
    ("GATEWAY_EXTERNAL_SCOPES", "subscribe,publish"),
    ("GATEWAY_EXTERNAL_SCOPES", "subscribe root"),
    ("GATEWAY_EXTERNAL_TENANTS", "acme,a b"),
]


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the variable."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: ")
    assert "\n" not in str(caught.value)


UNUSABLE: list[dict[str, Any]] = [
    {"jwt_secret": None},
    {"jwt_secret": SecretStr("")},
    {"jwt_secret": SecretStr("short-canary")},
    {"jwt_secret": SecretStr("canary" * 20)},
    {"jwt_previous_secrets": (SecretStr("short-canary"),)},
    {"jwt_private_keys": ("/nonexistent.pem",)},
    {"jwt_public_keys": ("/nonexistent.pem",)},
    {"external_issuer": "https://id.example"},
    {"external_jwks_url": "https://id.example/jwks"},
    {"external_issuer": "gathering-gateway", "external_jwks_url": "https://id.example/jwks"},
    {"external_issuer": "https://id.example", "external_jwks_url": "file:///etc/passwd"},
    {"log_url": "nonsense://x:canary@host"},
]


@pytest.mark.parametrize("values", UNUSABLE, ids=lambda values: "+".join(values))
def test_settings_that_do_not_do_are_one_line_without_a_secret(values: dict[str, Any]) -> None:
    """Named, and never quoted where they are secret."""
    settings = settings_for().model_copy(update=values)
    with pytest.raises(ConfigError) as caught:
        create_service(settings)
    line = str(caught.value)
    assert any(f"GATEWAY_{name.upper()}" in line for name in values), line
    assert "\n" not in line
    assert "canary" not in line


def test_no_secret_shows_in_the_settings_representation() -> None:
    """They end up in logs and error pages."""
    settings = settings_for(jwt_previous_secrets=(SecretStr("a-canary-of-a-previous-secret-1234567890"),))
    assert SECRET not in repr(settings) + str(settings) + repr(create_service(settings))
    assert "a-canary-of" not in repr(settings)


def test_weak_settings_are_named() -> None:
    """For `gateway check`; the defaults are not among them."""
    assert list(setting_warnings(Settings(_env_file=None, jwt_secret=SecretStr(SECRET)))) == []
    weak = settings_for(host="0.0.0.0", allowed_origins=("*",), commands_per_second=0, external_scopes="platform")  # noqa: S104 - what is judged
    found = " ".join(setting_warnings(weak))
    names = ("HOST", "ALLOWED_ORIGINS", "COMMANDS_PER_SECOND", "TOKENS_PER_MINUTE", "EXTERNAL_SCOPES")
    assert all(f"GATEWAY_{name}" in found for name in names), found


def test_settings_type_check_without_pydantics_plugin(tmp_path: Path) -> None:
    """A program that embeds the gateway is checked by its own configuration of mypy."""
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n")
    (tmp_path / "embedder.py").write_text(
        "from pydantic import SecretStr\n"
        "from gateway import Settings\n"
        "Settings()\n"
        "Settings(_env_file=None, jwt_secret=SecretStr('x'), port=9000, allowed_origins=('https://a.example',))\n"
        "Settings(prot=9000)  # type: ignore[call-arg]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--explicit-package-bases", "embedder.py"],
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": str(EXAMPLE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "value"), [("log_level", "INFO"), ("log_level", "Warning"), ("log_format", "JSON")])
def test_words_are_taken_in_any_case(name: str, value: str) -> None:
    """The constants of `logging`, for example, are in upper case."""
    assert getattr(settings_for(**{name: value}), name) == value.lower()
