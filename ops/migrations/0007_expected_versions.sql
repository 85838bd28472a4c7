-- An append may name aggregates it only read: when one of them has gone on meanwhile, nothing is
-- saved, as when a version of its own is taken. Asked behind the lock that orders the log, so
-- what is not there by now can't come before these facts any more.
DROP PROCEDURE log.append_durably;
CREATE PROCEDURE log.append_durably(
    command uuid, attempt uuid, body_hash bytea, answer bytea,
    originators uuid[], versions bigint[], topics text[], states bytea[], commits bytea[],
    claim_kinds text[], claim_values bytea[], claim_owners uuid[], claim_takes boolean[],
    item_kinds text[], item_owners uuid[], item_ids text[], item_values bytea[],
    item_absent boolean[], blob_refs bytea[], blob_values bytea[],
    read_originators uuid[], read_versions bigint[],
    INOUT first bigint, INOUT last bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
    SELECT a.first, a.last INTO first, last FROM log.append(
        command, attempt, body_hash, answer, originators, versions, topics, states, commits,
        claim_kinds, claim_values, claim_owners, claim_takes, item_kinds, item_owners, item_ids,
        item_values, item_absent, blob_refs, blob_values
    ) a;
    IF read_originators IS NOT NULL AND EXISTS (
        SELECT FROM unnest(read_originators, read_versions) r(originator, version)
        JOIN log.events e
            ON e.originator_id = r.originator AND e.originator_version = r.version + 1
    ) THEN
        RAISE unique_violation USING
            MESSAGE = 'what was read has changed', CONSTRAINT = 'events_read';
    END IF;
    COMMIT;
    -- The smallest write of its own; its commit waits for all that was written before it.
    PERFORM pg_catalog.pg_logical_emit_message(true, 'trackarr', '');
END $$;
