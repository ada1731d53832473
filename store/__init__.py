"""The ledger: every trial and result, durable, append-only, the only source of truth.

    ledger = Ledger.open("data/ledger.db", create=True)     # or a PostgreSQL URL; older schemas are copied and upgraded

Write doors: each is one transaction; `key` names the write, so repeating it is a no-op with the same answer; `at` is an aware
time, `by` a person or process; a fault is a `Refusal` sentence, and nothing is changed then.

    put_campaign(name, spec, at, by) -> version             edited spec = new version; the same spec = no-op (no key needed)
    propose(campaign, designs, decision, evaluator, trials_seen, key, at, by, lease=None) -> ids
                                                            trials_seen = len(trials(campaign)); `Stale` if another was faster
    add_trials(campaign, designs, evaluator, key, at, by, results, cycling, provenance, state="completed") -> ids
                                                            published, earlier, unplanned; results carry a `design` column
    issue(ids), mixed(trial or mix, recipe_done, details) -> mix id, start(mix or cell, channel, active_mass_mg, area_cm2,
        protocol, details) -> cell id, stop(cell), complete / fail / abandon / exclude / undo(id, why) -> new state
    record(results, cycling, complete=[ids], unplanned=False, lease=None) -> {"results": ids, "cycles": n}    all or nothing
    amend(why, results, cycling, withdraw, withdraw_cycles, subjects) -> the same                         supersedes
    register_file(campaign, sha256, name, size, at, by, subject, details) -> is it new; assign_file(campaign, sha256, subject)
    claim(name, by, at, ttl_s) / claim_next(campaign, …) -> Lease or None; renew, release      simulated work and ticks only
    pending_projection(campaign) -> table of (trial, seq); mark_projected(campaign, trial, seq); reset_projection(campaign)
    backup(path), export(folder, format="csv"|"parquet"|"json", files={sha256: path}), verify()
    restore(backup, ledger path), import_export(folder, ledger path): module functions, make a new ledger

Read doors (`Reader`; `ledger.as_of(seq)` has them all as of an earlier write; every answer is one moment):
    seq, campaigns(), spec(campaign) -> (version, dict), trials(campaign, recipe="done"|"asked"), trial(id), mixes(campaign),
    cells(campaign), results(campaign), cycling(campaign), decisions(campaign), files(campaign), events(campaign), history(trial)
"""

from store.backup import restore
from store.connection import Unavailable
from store.exporting import import_export
from store.leases import Lease
from store.ledger import Ledger
from store.reading import Reader
from store.write import Stale

__all__ = ["Lease", "Ledger", "Reader", "Stale", "Unavailable", "import_export", "restore"]
