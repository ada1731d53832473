"""Where ledger, MLflow and Prefect live: from the environment, else the nearest `mixwright.toml`, else one data directory."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from campaign.errors import Refusal
from campaign.names import nearest

FILE_NAME = "mixwright.toml"

_VARIABLES = {
    "data_dir": "MIXWRIGHT_DATA_DIR",
    "ledger_url": "MIXWRIGHT_LEDGER_URL",
    "mlflow_tracking_uri": "MLFLOW_TRACKING_URI",
    "prefect_api_url": "PREFECT_API_URL",
}


@dataclass(frozen=True)
class Settings:
    """Machine settings; everything that is not set lives under `data_dir`."""

    data_dir: Path
    ledger_url: str
    mlflow_tracking_uri: str
    prefect_api_url: str | None
    source: str
    """Where `data_dir` was found, for `doctor`."""

    @property
    def prefect_home(self) -> Path:
        """Folder of the embedded Prefect server."""
        return self.data_dir / "prefect"

    def reports(self, campaign: str) -> Path:
        """Folder of a campaign's reports and plots."""
        return self.data_dir / "reports" / campaign

    def inbox(self, campaign: str) -> Path:
        """Folder whose files the next tick takes in."""
        return self.data_dir / "inbox" / campaign

    @property
    def archive(self) -> Path:
        """Folder of ingested files, by content hash."""
        return self.data_dir / "files"


def load(near: Path | None = None) -> Settings:
    """Read the settings that hold for a campaign file (or, without one, for the working directory).

    Raises:
        Refusal: `mixwright.toml` is not TOML or holds an unknown key.
    """
    found = _nearest_file((near or Path.cwd() / "x").resolve().parent)
    stated, base = _read(found) if found else ({}, Path.cwd())
    values = {key: os.environ.get(variable) or stated.get(key) for key, variable in _VARIABLES.items()}
    if values["data_dir"]:
        from_environment = bool(os.environ.get("MIXWRIGHT_DATA_DIR"))
        data_dir = ((Path.cwd() if from_environment else base) / Path(values["data_dir"]).expanduser()).resolve()
        source = "MIXWRIGHT_DATA_DIR" if from_environment else str(found)
    else:
        data_dir = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "mixwright"
        source = "default"
    return Settings(
        data_dir=data_dir,
        ledger_url=values["ledger_url"] or f"sqlite:///{data_dir / 'ledger.db'}",
        mlflow_tracking_uri=values["mlflow_tracking_uri"] or f"sqlite:///{data_dir / 'mlflow.db'}",
        prefect_api_url=values["prefect_api_url"] or None,
        source=source,
    )


def _nearest_file(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME
    return None


def _read(path: Path) -> tuple[dict[str, str], Path]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path}: this is not TOML ({error})") from None
    for key, value in data.items():
        if key not in _VARIABLES:
            raise Refusal(f"{path}: the key {key!r} is unknown: {nearest(key, _VARIABLES)}")
        if not isinstance(value, str):
            raise Refusal(f"{path}: {key} must be text in quotes, not {value!r}")
    return data, path.parent
