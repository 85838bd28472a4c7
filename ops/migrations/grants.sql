-- What the application's login may do; run at every migration, so it also mends lost rights.
GRANT USAGE ON SCHEMA log, vault, ledger TO trackarr_app;
GRANT SELECT ON ALL TABLES IN SCHEMA log, vault, ledger TO trackarr_app;
GRANT INSERT ON ledger.records TO trackarr_app;
GRANT USAGE ON SEQUENCE log.account_numbers, log.torrent_numbers TO trackarr_app;
GRANT EXECUTE ON FUNCTION log.append, log.prune_commands, log.record_head, log.reserve_seals,
    log.chain_hash, vault.write, ledger.ensure_day, ledger.append_batch,
    ledger.draft_segment, ledger.discard_drafts, ledger.close_day, ledger.record_checkpoint,
    ledger.forget_state, ledger.retire_closing TO trackarr_app;
GRANT EXECUTE ON PROCEDURE log.append_durably TO trackarr_app;
