"""What Prefect runs: release, rollback, nightly-canary. They read like runbooks."""
