"""Settings that keep MLflow quiet, local and impatient. Set in the environment before MLflow is first imported."""

from __future__ import annotations


def settings() -> dict[str, str]:
    """Return the environment of every process that uses MLflow.

    No telemetry (MLflow compares with the word `true`, so `1` would not do), no unpickling, no job runner, nothing of
    MLflow's on our standard output, and no retries: a dead server costs two seconds, not four minutes.
    """
    return {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }
