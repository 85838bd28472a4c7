-- The event log: facts, claimed names, command ids and signed heads.
-- Only the functions below write here; the application's login may read and call them.

CREATE TABLE log.events (
    notification_id bigint NOT NULL CHECK (notification_id > 0),
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text COLLATE "C" NOT NULL,
    state bytea NOT NULL,
    commit bytea NOT NULL CHECK (octet_length(commit) = 32),
    hash bytea NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (originator_id, originator_version),
    CONSTRAINT events_position_key UNIQUE (notification_id)
);
COMMENT ON TABLE log.events IS
    'Facts in their total order; positions (notification_id) are gapless from 1. state is sealed.';

-- Kept for seven days: proof that a command was done, and what it was answered (sealed).
-- attempt tells a lost acknowledgement of our own from another caller with the same id.
CREATE TABLE log.commands (
    id uuid CONSTRAINT commands_pkey PRIMARY KEY,
    attempt uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    body_hash bytea,
    answer bytea,
    first bigint NOT NULL,
    last bigint NOT NULL
);
CREATE INDEX commands_at ON log.commands (at);

-- Names held by one aggregate at a time; value is a keyed hash. A fold of the log.
CREATE TABLE log.claims (
    kind text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    owner uuid NOT NULL,
    CONSTRAINT claims_pkey PRIMARY KEY (kind, value)
);

CREATE TABLE log.heads (
    position bigint NOT NULL,
    hash bytea NOT NULL,
    ledger_seq bigint NOT NULL,
    ledger_hash bytea NOT NULL,
    at_micros bigint NOT NULL,
    key_id integer NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT heads_pkey PRIMARY KEY (position, ledger_seq)
);

-- Seals promised to processes per key; a key is worn out after 2^31 (AES-GCM, random nonces).
CREATE TABLE log.key_use (
    key_id integer CONSTRAINT key_use_pkey PRIMARY KEY,
    seals bigint NOT NULL
);

-- Dense numbers for the tracker's records (unsigned 32 bit there, signed here).
CREATE SEQUENCE log.account_numbers AS integer MINVALUE 1 NO CYCLE;
CREATE SEQUENCE log.torrent_numbers AS integer MINVALUE 1 NO CYCLE;

-- hash = SHA-256 over: previous hash (32 bytes; zeros before position 1), position (int8),
-- originator id (16 bytes), version (int8), length of topic (int4), topic (UTF-8), commit
-- (32 bytes); all integers big-endian. The same formula stands in application/store/chain.py.
CREATE FUNCTION log.chain_hash(
    previous bytea, place bigint, originator uuid, version bigint, topic text, content bytea
) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(
    previous || int8send(place) || uuid_send(originator) || int8send(version)
    || int4send(octet_length(convert_to(topic, 'UTF8'))) || convert_to(topic, 'UTF8') || content
);

-- Take and give back names, in the order of the facts for each name, names in sorted order so
-- that two commands cannot block each other. Only the owner gives a name back. Taking what one
-- already holds is no conflict.
CREATE FUNCTION log.change_claims(kinds text[], vals bytea[], owners uuid[], takes boolean[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    op record;
BEGIN
    FOR op IN
        SELECT u.kind, u.value, u.owner, u.take
        FROM unnest(kinds, vals, owners, takes) WITH ORDINALITY u(kind, value, owner, take, ord)
        ORDER BY u.kind COLLATE "C", u.value, u.ord
    LOOP
        IF NOT op.take THEN
            DELETE FROM log.claims c
            WHERE c.kind = op.kind AND c.value = op.value AND c.owner = op.owner;
            CONTINUE;
        END IF;
        INSERT INTO log.claims AS c (kind, value, owner) VALUES (op.kind, op.value, op.owner)
        ON CONFLICT ON CONSTRAINT claims_pkey DO UPDATE SET owner = c.owner
        WHERE c.owner = excluded.owner;
        IF NOT FOUND THEN
            RAISE unique_violation USING
                MESSAGE = 'the name is taken', CONSTRAINT = 'claims_pkey', DETAIL = op.kind;
        END IF;
    END LOOP;
END $$;

-- One command: everything it changes, in one call and one transaction. The lock that orders
-- the log is taken last, so it is held only while the facts themselves are inserted and
-- committed: what a reader sees up to position N is complete.
CREATE FUNCTION log.append(
    command uuid, attempt uuid, body_hash bytea, answer bytea,
    originators uuid[], versions bigint[], topics text[], states bytea[], commits bytea[],
    claim_kinds text[], claim_values bytea[], claim_owners uuid[], claim_takes boolean[],
    item_kinds text[], item_owners uuid[], item_ids text[], item_values bytea[],
    item_absent boolean[], blob_refs bytea[], blob_values bytea[]
) RETURNS TABLE (first bigint, last bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    added int := coalesce(cardinality(originators), 0);
    head record;
    hashes bytea[];
    link bytea;
    reached bigint;
BEGIN
    IF command IS NOT NULL THEN
        -- A second sender of the same command waits here and then sees the first one's row.
        PERFORM pg_advisory_xact_lock(hashtextextended(append.command::text, 4711));
        IF EXISTS (SELECT FROM log.commands c WHERE c.id = append.command) THEN
            RAISE unique_violation USING
                MESSAGE = 'the command is in the log', CONSTRAINT = 'commands_pkey';
        END IF;
    END IF;
    IF claim_kinds IS NOT NULL THEN
        PERFORM log.change_claims(claim_kinds, claim_values, claim_owners, claim_takes);
    END IF;
    IF item_kinds IS NOT NULL THEN
        PERFORM vault.change_items(item_kinds, item_owners, item_ids, item_values, item_absent);
    END IF;
    IF blob_refs IS NOT NULL THEN
        INSERT INTO vault.blobs (ref, value)
        SELECT DISTINCT ON (b.ref) b.ref, b.value FROM unnest(blob_refs, blob_values) b(ref, value)
        ORDER BY b.ref ON CONFLICT DO NOTHING;
    END IF;
    IF added > 0 THEN
        PERFORM pg_advisory_xact_lock(4711, 1);
    END IF;
    SELECT e.notification_id AS place, e.hash INTO head
    FROM log.events e ORDER BY e.notification_id DESC LIMIT 1;
    reached := coalesce(head.place, 0);
    first := CASE WHEN added > 0 THEN reached + 1 ELSE 0 END;
    last := CASE WHEN added > 0 THEN reached + added ELSE 0 END;
    IF added > 0 THEN
        link := coalesce(head.hash, decode(repeat('00', 32), 'hex'));
        FOR n IN 1 .. added LOOP
            link := log.chain_hash(
                link, reached + n, originators[n], versions[n], topics[n], commits[n]
            );
            hashes[n] := link;
        END LOOP;
        INSERT INTO log.events
        SELECT reached + u.ord, u.originator, u.version, u.topic, u.state, u.content, u.hash
        FROM unnest(originators, versions, topics, states, commits, hashes)
            WITH ORDINALITY u(originator, version, topic, state, content, hash, ord);
        IF EXISTS (
            SELECT FROM unnest(originators, versions) u(originator, version)
            WHERE u.version > 1 AND NOT EXISTS (
                SELECT FROM log.events e
                WHERE e.originator_id = u.originator AND e.originator_version = u.version - 1
            )
        ) THEN
            RAISE check_violation USING
                MESSAGE = 'a version was left out', CONSTRAINT = 'events_version_gap';
        END IF;
        PERFORM pg_notify('log_events', last::text);
    END IF;
    IF command IS NOT NULL THEN
        INSERT INTO log.commands (id, attempt, body_hash, answer, first, last)
        VALUES (append.command, append.attempt, append.body_hash, append.answer,
                append.first, CASE WHEN added > 0 THEN append.last ELSE reached END);
    END IF;
    RETURN NEXT;
END $$;

CREATE FUNCTION log.prune_commands(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    -- Not younger than a day, whoever asks: an unknown outcome must stay decidable.
    DELETE FROM log.commands c WHERE c.at < least(before, now() - interval '1 day');
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

CREATE FUNCTION log.record_head(
    place bigint, head_hash bytea, batch bigint, batch_hash bytea, taken_micros bigint,
    signer integer, sig bytea
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO log.heads (position, hash, ledger_seq, ledger_hash, at_micros, key_id, signature)
    VALUES (place, head_hash, batch, batch_hash, taken_micros, signer, sig)
    ON CONFLICT DO NOTHING;
$$;

-- Promise `amount` seals under a key to one process; the answer is the sum of all promises.
CREATE FUNCTION log.reserve_seals(key integer, amount bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO log.key_use AS k (key_id, seals) VALUES (key, greatest(amount, 1))
    ON CONFLICT ON CONSTRAINT key_use_pkey DO UPDATE SET seals = k.seals + excluded.seals
    RETURNING seals;
$$;
