-- The append as processes call it. The lock that orders the log must be held until the commit is
-- visible; held through the disk's sync as well it would allow one sync a command, however many
-- processes there are. So the facts are committed without waiting, which gives the lock back,
-- and then one more commit waits for the disk, together with everyone else's: the caller is
-- answered when his facts are durable. A reader may see a fact a moment sooner; whatever he
-- commits to this database then stands behind the fact in the write-ahead log, so no crash can
-- keep his work and lose the fact.
CREATE PROCEDURE log.append_durably(
    command uuid, attempt uuid, body_hash bytea, answer bytea,
    originators uuid[], versions bigint[], topics text[], states bytea[], commits bytea[],
    claim_kinds text[], claim_values bytea[], claim_owners uuid[], claim_takes boolean[],
    item_kinds text[], item_owners uuid[], item_ids text[], item_values bytea[],
    item_absent boolean[], blob_refs bytea[], blob_values bytea[],
    INOUT first bigint, INOUT last bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
    SELECT a.first, a.last INTO first, last FROM log.append(
        command, attempt, body_hash, answer, originators, versions, topics, states, commits,
        claim_kinds, claim_values, claim_owners, claim_takes, item_kinds, item_owners, item_ids,
        item_values, item_absent, blob_refs, blob_values
    ) a;
    COMMIT;
    -- The smallest write of its own; its commit waits for all that was written before it.
    PERFORM pg_catalog.pg_logical_emit_message(true, 'trackarr', '');
END $$;
