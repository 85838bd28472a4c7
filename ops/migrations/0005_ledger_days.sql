-- Closed days of the peer ledger, rewritten from rows as compressed blocks.
--
-- A day is cut into segments of consecutive batches. A segment has order blocks (batch, ordinal
-- and time in the ledger's order) and sorted blocks (the rest by account, torrent and peer id):
-- projections/ledger_blocks.py. Segments are drafts until ledger.close_day makes them the day's
-- record and drops its rows, both at once.
CREATE TABLE ledger.segments (
    day date NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    first_batch bigint NOT NULL CHECK (first_batch > 0),
    last_batch bigint NOT NULL CHECK (last_batch >= first_batch),
    records integer NOT NULL CHECK (records > 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    CONSTRAINT segments_pkey PRIMARY KEY (day, number)
);

-- low and high: bounds of the account numbers (sorted) or of the batches (order).
-- body: zstd, sealed like a fact; digest: SHA-256 of what was packed, so that sealing anew under
-- another key changes no digest.
CREATE TABLE ledger.blocks (
    day date NOT NULL,
    segment integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('order', 'sorted')),
    number integer NOT NULL CHECK (number > 0),
    records integer NOT NULL CHECK (records > 0),
    low bigint NOT NULL,
    high bigint NOT NULL CHECK (high >= low),
    at_min bigint NOT NULL,
    at_max bigint NOT NULL CHECK (at_max >= at_min),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    body bytea STORAGE EXTERNAL NOT NULL,
    CONSTRAINT blocks_pkey PRIMARY KEY (day, segment, kind, number),
    FOREIGN KEY (day, segment) REFERENCES ledger.segments
);

-- One line for each time a day was closed (late records may close it again), in one chain:
-- hash = SHA-256 over: previous hash (32 bytes; zeros before the first), seq (int8), day (int4,
-- days since 1970-01-01), first and last segment (int4 each), last batch (int8), records (int8),
-- digest (SHA-256 over the segments' digests); integers big-endian. The same formula stands in
-- application/store/chain.py. retired_at: when the blocks went, by the operator's ledgerKeepDays.
CREATE TABLE ledger.closings (
    seq bigint CONSTRAINT closings_pkey PRIMARY KEY CHECK (seq > 0),
    day date NOT NULL,
    first_segment integer NOT NULL,
    last_segment integer NOT NULL CHECK (last_segment >= first_segment),
    last_batch bigint NOT NULL,
    records bigint NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    closed_at timestamptz NOT NULL,
    retired_at timestamptz
);
CREATE INDEX closings_day ON ledger.closings (day, seq);

-- The accounting state behind a closing, signed (Ed25519). sums: totals of members and torrents,
-- kept for ever; state: all that a replay needs to go on from here, kept while it is useful.
-- Both sealed. The signed text stands in application/store/chain.py.
CREATE TABLE ledger.checkpoints (
    closing bigint CONSTRAINT checkpoints_pkey PRIMARY KEY REFERENCES ledger.closings,
    closing_hash bytea NOT NULL,
    ledger_seq bigint NOT NULL,
    ledger_hash bytea NOT NULL,
    log_position bigint NOT NULL,
    fold text NOT NULL,
    state_digest bytea NOT NULL CHECK (octet_length(state_digest) = 32),
    sums_digest bytea NOT NULL CHECK (octet_length(sums_digest) = 32),
    at_micros bigint NOT NULL,
    key_id integer NOT NULL,
    signature bytea NOT NULL,
    sums bytea STORAGE EXTERNAL NOT NULL,
    state bytea STORAGE EXTERNAL
);

CREATE FUNCTION ledger.rows_of(day date) RETURNS regclass
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN to_regclass('ledger.records_' || to_char(day, 'YYYYMMDD'));

-- The last segment of a day that is its record; what comes behind is a draft.
CREATE FUNCTION ledger.closed_segment(day date) RETURNS integer
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN (SELECT coalesce(max(c.last_segment), 0) FROM ledger.closings c WHERE c.day = $1);

-- Keep one segment as a draft; gives its number. The rows of the day stay what counts.
CREATE FUNCTION ledger.draft_segment(
    day date, first_batch bigint, last_batch bigint, kinds text[], records integer[],
    lows bigint[], highs bigint[], at_mins bigint[], at_maxs bigint[], digests bytea[],
    bodies bytea[]
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    place integer;
    held bigint;
    total bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4711, 4);
    IF ledger.rows_of(draft_segment.day) IS NULL THEN
        RAISE check_violation USING MESSAGE = 'this day has no rows to compact';
    END IF;
    SELECT coalesce(max(s.number), 0), coalesce(max(s.last_batch), 0) INTO place, held
    FROM ledger.segments s WHERE s.day = draft_segment.day;
    IF draft_segment.first_batch <= held THEN
        RAISE check_violation USING MESSAGE = 'these batches are in a segment already';
    END IF;
    SELECT sum(b.records) FILTER (WHERE b.kind = 'sorted') INTO total
    FROM unnest(draft_segment.kinds, draft_segment.records) AS b (kind, records);
    INSERT INTO ledger.segments VALUES (
        draft_segment.day, place + 1, draft_segment.first_batch, draft_segment.last_batch, total,
        (SELECT sha256(string_agg(d.digest, '' ORDER BY d.n))
         FROM unnest(draft_segment.digests) WITH ORDINALITY AS d (digest, n))
    );
    INSERT INTO ledger.blocks
    SELECT draft_segment.day, place + 1, b.kind,
        row_number() OVER (PARTITION BY b.kind ORDER BY b.n), b.records, b.low, b.high, b.at_min,
        b.at_max, b.digest, b.body
    FROM unnest(
        draft_segment.kinds, draft_segment.records, draft_segment.lows, draft_segment.highs,
        draft_segment.at_mins, draft_segment.at_maxs, draft_segment.digests, draft_segment.bodies
    ) WITH ORDINALITY AS b (kind, records, low, high, at_min, at_max, digest, body, n);
    RETURN place + 1;
END $$;

-- Throw the drafts of a day away; its rows are still there.
CREATE FUNCTION ledger.discard_drafts(day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    closed integer;
    gone integer;
BEGIN
    PERFORM pg_advisory_xact_lock(4711, 4);
    closed := ledger.closed_segment(discard_drafts.day);
    DELETE FROM ledger.blocks b WHERE b.day = discard_drafts.day AND b.segment > closed;
    DELETE FROM ledger.segments s WHERE s.day = discard_drafts.day AND s.number > closed;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- Make the drafts of a day its record and drop its rows, in one transaction.
-- Gives the closing's number; null while somebody reads the ledger at length, or works on this
-- day's rows: try again later. Refuses (check_violation) a day that ended less than an hour ago,
-- and drafts that do not hold exactly the records of the rows, batch by batch as far as counts
-- tell. The caller has compared contents: only he can open the blocks.
CREATE FUNCTION ledger.close_day(day date, closed_at timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    part regclass := ledger.rows_of(close_day.day);
    closed integer;
    drafts record;
    found record;
    head bigint;
    later boolean;
    last record;
    place bigint;
    link bytea;
    digest bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(4711, 4);
    IF part IS NULL THEN
        RAISE check_violation USING MESSAGE = 'this day has no rows';
    END IF;
    IF now() < (close_day.day + 1)::timestamp AT TIME ZONE 'UTC' + interval '1 hour' THEN
        RAISE check_violation USING MESSAGE = 'this day is not over for an hour yet';
    END IF;
    -- Readers of the whole ledger hold this lock shared.
    IF NOT pg_try_advisory_xact_lock(4711, 5) THEN
        RETURN NULL;
    END IF;
    closed := ledger.closed_segment(close_day.day);
    SELECT min(s.number) AS first, max(s.number) AS last, sum(s.records) AS records,
        min(s.first_batch) AS first_batch, max(s.last_batch) AS last_batch,
        sha256(string_agg(s.digest, '' ORDER BY s.number)) AS digest
    INTO drafts FROM ledger.segments s WHERE s.day = close_day.day AND s.number > closed;
    head := coalesce((SELECT max(b.seq) FROM ledger.batches b), 0);
    EXECUTE format('SELECT count(*) AS records, min(batch) AS first, max(batch) AS last FROM %s', part)
    INTO found;
    IF drafts.first IS NULL OR found.records <> drafts.records
        OR found.first <> drafts.first_batch OR found.last <> drafts.last_batch
        OR EXISTS (
            SELECT FROM ledger.segments s WHERE s.day = close_day.day AND s.number > closed
            AND s.records <> (
                SELECT sum(b.records) FROM ledger.blocks b
                WHERE b.day = s.day AND b.segment = s.number AND b.kind = 'order'
            )
        )
    THEN
        RAISE check_violation USING MESSAGE = 'the blocks do not hold the records of the rows';
    END IF;
    BEGIN
        -- No batch is half archived now, and none begins before the rows are gone.
        PERFORM pg_advisory_xact_lock(4711, 2);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part);
        IF head < coalesce((SELECT max(b.seq) FROM ledger.batches b), 0) THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE batch > %s)', part, head) INTO later;
            IF later THEN
                RETURN NULL;
            END IF;
        END IF;
        EXECUTE format('DROP TABLE %s', part);
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    SELECT c.seq, c.hash INTO last FROM ledger.closings c ORDER BY c.seq DESC LIMIT 1;
    place := coalesce(last.seq, 0) + 1;
    link := coalesce(last.hash, decode(repeat('00', 32), 'hex'));
    INSERT INTO ledger.closings VALUES (
        place, close_day.day, drafts.first, drafts.last, drafts.last_batch, drafts.records,
        drafts.digest, link,
        sha256(
            link || int8send(place) || int4send(close_day.day - date '1970-01-01')
            || int4send(drafts.first) || int4send(drafts.last) || int8send(drafts.last_batch)
            || int8send(drafts.records::bigint) || drafts.digest
        ),
        close_day.closed_at
    );
    RETURN place;
END $$;

CREATE FUNCTION ledger.record_checkpoint(
    closing bigint, closing_hash bytea, ledger_seq bigint, ledger_hash bytea, log_position bigint,
    fold text, state_digest bytea, sums_digest bytea, at_micros bigint, key_id integer,
    signature bytea, sums bytea, state bytea
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO ledger.checkpoints VALUES (
        closing, closing_hash, ledger_seq, ledger_hash, log_position, fold, state_digest,
        sums_digest, at_micros, key_id, signature, sums, state
    );
END;

-- Forget states that no reader starts from: a newer one must be there.
CREATE FUNCTION ledger.forget_state(closing bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (
        SELECT FROM ledger.checkpoints c
        WHERE c.closing > forget_state.closing AND c.state IS NOT NULL
    ) THEN
        RAISE check_violation USING MESSAGE = 'the newest state is kept';
    END IF;
    UPDATE ledger.checkpoints c SET state = NULL WHERE c.closing = forget_state.closing;
END $$;

-- Let the blocks of one closing go. Refuses what is younger than 30 days, what is not the oldest
-- still there, and what no later checkpoint with a state stands behind: its sums stay, and a
-- replay begins there.
CREATE FUNCTION ledger.retire_closing(closing bigint, retired_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    old ledger.closings;
BEGIN
    PERFORM pg_advisory_xact_lock(4711, 4);
    SELECT * INTO STRICT old FROM ledger.closings c WHERE c.seq = retire_closing.closing;
    IF old.day > (now() AT TIME ZONE 'UTC')::date - 30 THEN
        RAISE check_violation USING MESSAGE = 'days younger than 30 days are kept';
    END IF;
    IF EXISTS (SELECT FROM ledger.closings c WHERE c.seq < old.seq AND c.retired_at IS NULL) THEN
        RAISE check_violation USING MESSAGE = 'an older closing is still there';
    END IF;
    IF NOT EXISTS (
        SELECT FROM ledger.checkpoints c
        WHERE c.closing >= old.seq AND c.state IS NOT NULL AND c.ledger_seq >= old.last_batch
    ) THEN
        RAISE check_violation USING MESSAGE = 'no checkpoint stands behind it';
    END IF;
    DELETE FROM ledger.blocks b
    WHERE b.day = old.day AND b.segment BETWEEN old.first_segment AND old.last_segment;
    UPDATE ledger.closings c SET retired_at = retire_closing.retired_at WHERE c.seq = old.seq;
END $$;
