"""The domain: what a campaign, a recipe, a protocol and an outcome are. Light to import: no torch, no database."""
