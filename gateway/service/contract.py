"""The event contract of the settings: a folder of JSON Schemas, or pydantic models by the name of a variable."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final

from gateway.core.contract import Contract
from gateway.service.config import ConfigError, Settings
from schemas.contract.event_schema import EventSchema, SchemaInvalid, parse_name
from schemas.contract.models import model_event_schema

_is_variable: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII).fullmatch


def contract_of(settings: Settings) -> Contract | None:
    """The contract that `GATEWAY_CONTRACT` names, if it names one. Raises `ConfigError`."""
    if settings.contract is None:
        return None
    schemas = load_schemas(settings.contract, "GATEWAY_CONTRACT")
    return Contract(schemas, settings.contract_mode, settings.contract_unknown)


def load_schemas(source: str, asked_by: str) -> list[EventSchema]:
    """The schemas in a folder, or of the models in a variable, `package.module:NAME`. Raises `ConfigError`, whose
    message begins with `asked_by`, a setting or an option."""
    try:
        if Path(source).is_dir():
            found = list(_from_folder(Path(source)))
        elif _is_variable(source):
            found = list(_from_variable(source))
        else:
            raise ConfigError(f"{asked_by}: {source}: no such folder; name a folder, or models as package.module:NAME")
    except SchemaInvalid as error:
        raise ConfigError(f"{asked_by}: {error}") from None
    if not found:
        raise ConfigError(f"{asked_by}: {source}: names no event type; add one, such as task.completed.v1")
    return found


def _from_folder(folder: Path) -> Iterator[EventSchema]:
    try:
        from schemas.contract.json_schema import json_event_schema
    except ImportError:
        raise SchemaInvalid(
            "a folder of JSON Schemas needs a validator: pip install 'jsonschema-rs>=0.60,<1'"
        ) from None
    for path in sorted(folder.glob("*.json")):
        try:
            schema = json.loads(path.read_bytes())
            if not isinstance(schema, dict):
                raise SchemaInvalid("is not a JSON Schema, which is an object")
            yield json_event_schema(*parse_name(path.stem), schema)
        except OSError as error:
            raise SchemaInvalid(f"{path}: cannot be read: {error.strerror}") from None
        except SchemaInvalid as error:
            raise SchemaInvalid(f"{path}: {error}") from None
        except ValueError as error:
            raise SchemaInvalid(f"{path}: is not JSON: {error}") from None


def _from_variable(source: str) -> Iterator[EventSchema]:
    if "" not in sys.path:
        sys.path.append("")  # a script has no working directory on its path, as `python -m` has
    try:
        models: Any = resolve_name(source)
    except (ImportError, AttributeError) as error:
        raise SchemaInvalid(f"{source}: cannot be imported: {error}") from None
    if not isinstance(models, Mapping):
        raise SchemaInvalid(
            f'{source}: is not a mapping of names to models, such as {{"task.completed.v1": Completed}}'
        )
    for name, model in models.items():
        try:
            yield model_event_schema(*parse_name(name), model)
        except SchemaInvalid as error:
            raise SchemaInvalid(f"{source}: {name}: {error}") from None
