"""Environment that Prefect and MLflow must find before they are imported: loopback, no telemetry, nothing outside our folder.

Neither library is imported here. Variables that the user has set are left alone, except the telemetry switches.
"""

from __future__ import annotations

import os

from flows.settings import Settings

_ALWAYS = {
    # MLflow compares with the word `true` only; `1` would not switch it off.
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

_DEFAULTS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # With its own defaults the MLflow client waits up to 20 minutes for a server that is gone.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    # A slot that a dead server held would otherwise stay taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    # A fresh database on a busy machine takes longer than Prefect's 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables for this process and its children."""
    chosen = {name: os.environ.get(name, value) for name, value in _DEFAULTS.items()} | _ALWAYS
    chosen["PREFECT_HOME"] = os.environ.get("PREFECT_HOME", str(settings.prefect_home))
    if settings.prefect_api_url:
        chosen["PREFECT_API_URL"] = settings.prefect_api_url
    return chosen


def apply(settings: Settings) -> None:
    """Set the variables in this process; call before Prefect or MLflow is imported."""
    os.environ.update(variables(settings))
