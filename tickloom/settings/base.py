"""One settings class out of a section, the environment and arguments; what is unknown is refused."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_origin

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tickloom.errors import SettingsError
from tickloom.toml_file import read_tables

CONFIG_VARIABLE = "TICKLOOM_CONFIG"
CONFIG_DEFAULT = Path("tickloom.toml")

VARIABLE_PREFIX = "TICKLOOM_"
#: Variables that are no settings: the file's name, and what set-up and the stack's guard use.
OTHER_VARIABLES = (CONFIG_VARIABLE, "TICKLOOM_PYTHON", "TICKLOOM_GUARD")

FEEDS = "feeds"

Port = Annotated[int, Field(ge=0, le=65_535)]


def _prefix(section: str) -> str:
    """How the variables of a section begin."""
    return f"{VARIABLE_PREFIX}{section.replace('.', '_').upper()}_"


class ProcessSettings(BaseSettings):
    """Base of all settings classes. Use :meth:`load`, which turns every mistake into a SettingsError."""

    section: ClassVar[str] = ""
    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, validate_default=True, enable_decoding=False, defer_build=True
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.model_config["env_prefix"] = _prefix(cls.section)

    @field_validator("*", mode="before")
    @classmethod
    def _read_list(cls, value: Any, info: ValidationInfo) -> Any:
        """A list in a variable is JSON, or simply its items with commas between; a table is JSON."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, str) and get_origin(field.annotation) is tuple:
            if value.lstrip().startswith("["):
                return json.loads(value)
            return [item.strip() for item in value.split(",") if item.strip()]
        if isinstance(value, str) and get_origin(field.annotation) is dict:
            return json.loads(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        check_variables()
        table = read_config().get(cls.section, {})
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=table)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read file, environment and ``overrides``, in rising order of precedence.

        Raises
        ------
        SettingsError
            Naming the section, the key, what is wrong with it and the nearest known key.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(_explain(cls, error)) from None

    def environment(self) -> dict[str, str]:
        """These settings as environment variables: how the stack hands them to a child process."""
        prefix = self.model_config["env_prefix"]
        dumped = self.model_dump(mode="json")
        return {
            f"{prefix}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in dumped.items()
            if value is not None
        }


#: All sections but ``feeds.NAME``: the package fills it.
SECTIONS: dict[str, type[ProcessSettings]] = {}
#: Sections ``feeds.NAME`` of the feeds that this process may run; see :mod:`tickloom.settings.feeds`.
DECLARED: dict[str, type[ProcessSettings]] = {}


def config_path() -> Path | None:
    """The settings file in force, or None where there is none."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return CONFIG_DEFAULT if CONFIG_DEFAULT.exists() else None


def read_config() -> dict[str, dict[str, Any]]:
    """Parse the settings file and refuse what no class knows.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, or has an unknown section or key, be it of another process.
    """
    path = config_path()
    if path is None:
        return {}
    tables = read_tables(path, f"Mend {CONFIG_VARIABLE} or create the file.")
    known_sections = SECTIONS | DECLARED
    if isinstance(feeds := tables.get(FEEDS), dict):
        del tables[FEEDS]
        if DECLARED:
            tables |= {f"{FEEDS}.{name}": table for name, table in feeds.items()}
    for name, table in tables.items():
        if name not in known_sections:
            raise SettingsError(f"{path}: unknown section [{name}]{_nearest(name, known_sections)}.")
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name} is a section: write [{name}] and its keys below.")
        for key in table:
            if key not in (known := known_sections[name].model_fields):
                raise SettingsError(f"{path}: [{name}] unknown key {key!r}{_nearest(key, known)}.")
    return tables


def check_variables() -> None:
    """Refuse an environment variable that looks like a setting and is none.

    Raises
    ------
    SettingsError
        Naming the variable and the nearest one that there is.
    """
    known = {*OTHER_VARIABLES}
    for section, kind in (SECTIONS | DECLARED).items():
        known.update(f"{_prefix(section)}{key.upper()}" for key in kind.model_fields)
    unknown = () if DECLARED else (_prefix(FEEDS),)
    for name in os.environ:
        if name.startswith(VARIABLE_PREFIX) and name not in known and not name.startswith(unknown):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ". Unset it."
            raise SettingsError(f"environment: unknown variable {name}{hint}")


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _explain(cls: type[ProcessSettings], error: ValidationError) -> str:
    lines, prefix = [], cls.model_config["env_prefix"]
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}{_nearest(key, cls.model_fields)}")
        else:
            variable = f"{prefix}{key.partition('.')[0]}".upper()
            came_from = f" (from {variable})" if variable in os.environ else ""
            lines.append(f"{key} = {finding['input']!r}{came_from}: {finding['msg']}")
    where = config_path() or "settings"
    return f"{where}: [{cls.section}] " + "; ".join(lines)
