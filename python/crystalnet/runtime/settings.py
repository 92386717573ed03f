"""The user's settings: the environment and a file."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from crystalnet.records import InputError, short_reason


class Settings(BaseSettings):
    """wavelength, monochromator: as for --wavelength and --monochromator. data: folder of the data sets.

    cache: folder of what measuring can bring back.
    materials_project_*: where fetch asks.
    """

    model_config = SettingsConfigDict(env_prefix="CRYSTALNET_", extra="forbid")
    wavelength: str | None = None
    monochromator: str | None = None
    data: Path = user_data_path("crystalnet")
    cache: Path = user_cache_path("crystalnet")
    materials_project_endpoint: str | None = None
    materials_project_densities: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file."""
        return env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def config_file() -> Path:
    """Where the user's config.toml is looked for."""
    return user_config_path("crystalnet") / "config.toml"


def settings() -> Settings:
    """The user's settings. InputError where the file holds something else."""
    try:
        return Settings()
    except (ValidationError, ValueError) as error:
        raise InputError(f"{config_file()}: not a valid configuration ({short_reason(error)})") from None


def default_directory(system: str) -> Path:
    """Where `fetch` writes and `train` reads unless told otherwise."""
    return settings().data / system
