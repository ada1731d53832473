"""Looking at a campaign: plots, the report, the MLflow projection. Takes tables, gives files.

`review.plots` draws, `review.report` writes the HTML, `review.projection` copies to MLflow. Importing `review` itself
is light: matplotlib, jinja2 and mlflow come in with the module that needs them.
"""

from review.data import Axis, CampaignView, Diagnosis, Objective, PriorInfluence, Provenance, Recommendation

__all__ = ["Axis", "CampaignView", "Diagnosis", "Objective", "PriorInfluence", "Provenance", "Recommendation"]
