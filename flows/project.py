"""Bringing the copies up to date: the report and the MLflow projection, both made from the ledger and safe to lose."""

from __future__ import annotations

from pathlib import Path

from flows import quiet
from flows.session import Session
from flows.view import campaign_view
from review import CampaignView


def bring_up_to_date(session: Session) -> list[str]:
    """Write the report and what MLflow still lacks; a copy that cannot be made is said in a sentence and stays pending.

    Returns:
        Sentences about copies that could not be made.
    """
    pending = session.ledger.pending_projection(session.name)
    if pending.empty:
        return []
    view, _ = campaign_view(session)
    report = write_report(session, view)
    sentence = project(session, view, report)
    return [sentence] if sentence else []


def write_report(session: Session, view: CampaignView, path: Path | None = None) -> Path:
    """Write the HTML report; by default into the data directory."""
    from review.report import write_report as write

    return write(view, path or session.settings.reports(session.name) / "report.html")


def project(session: Session, view: CampaignView, report: Path, *, rebuild: bool = False) -> str | None:
    """Copy the campaign to MLflow.

    Returns:
        A sentence where MLflow did not take it; the ledger keeps it pending then.
    """
    quiet.apply(session.settings)
    from review.projection import MLflowUnreachable, Projection

    pending = session.ledger.pending_projection(session.name)
    projection = Projection(session.settings.mlflow_tracking_uri)
    try:
        synced = (projection.rebuild if rebuild else projection.sync)(view, report=report)
    except MLflowUnreachable as unreachable:
        return str(unreachable)
    for trial, seq in zip(pending["trial"], pending["seq"], strict=True):
        session.ledger.mark_projected(session.name, str(trial), int(seq))
    links = projection.links(synced, base_url=mlflow_base_url(session))
    links_file(session).write_text("".join(f"{name}: {link}\n" for name, link in links.items()), encoding="utf-8")
    return None


def links_file(session: Session) -> Path:
    """Text file with the addresses of the saved MLflow views, one a line."""
    return session.settings.reports(session.name) / "mlflow_views.txt"


def mlflow_base_url(session: Session) -> str:
    """Address of the MLflow page: the tracking server, or where `mlflow/README.md` starts one over our SQLite store."""
    uri = session.settings.mlflow_tracking_uri
    return uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
