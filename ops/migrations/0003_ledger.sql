-- The peer ledger: every accepted announce as observed, in chained batches.

CREATE TABLE ledger.batches (
    seq bigint CONSTRAINT batches_pkey PRIMARY KEY CHECK (seq > 0),
    stream text COLLATE "C" NOT NULL,
    first_id text COLLATE "C" NOT NULL,
    last_id text COLLATE "C" NOT NULL,
    records integer NOT NULL CHECK (records >= 0),
    log_position bigint NOT NULL CHECK (log_position >= 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    archived_at timestamptz NOT NULL
);
CREATE INDEX batches_stream ON ledger.batches (stream, seq);

-- One row per record of tracker/wire.py, by day of `at` (microseconds since 1970 UTC).
-- Unsigned 64-bit totals are clamped to 2^62. address is the keyed hash, never the address.
CREATE TABLE ledger.records (
    batch bigint NOT NULL,
    at bigint NOT NULL,
    up bigint NOT NULL,
    down bigint NOT NULL,
    lft bigint NOT NULL,
    key bigint NOT NULL,
    ord integer NOT NULL,
    torrent integer NOT NULL,
    account integer NOT NULL,
    port integer NOT NULL,
    interval integer NOT NULL,
    event smallint NOT NULL,
    family smallint NOT NULL,
    protocol smallint NOT NULL,
    flags smallint NOT NULL,
    peer bytea NOT NULL,
    address bytea NOT NULL,
    tag bytea NOT NULL
) PARTITION BY RANGE (at);

CREATE FUNCTION ledger.ensure_day(day date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'records_' || to_char(day, 'YYYYMMDD');
    start bigint := (day - date '1970-01-01')::bigint * 86400000000;
BEGIN
    IF to_regclass('ledger.' || quote_ident(part)) IS NOT NULL THEN
        RETURN part;
    END IF;
    PERFORM pg_advisory_xact_lock(4711, 3);
    IF to_regclass('ledger.' || quote_ident(part)) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE ledger.%I PARTITION OF ledger.records FOR VALUES FROM (%s) TO (%s)',
            part, start, start + 86400000000
        );
        EXECUTE format('CREATE INDEX ON ledger.%I USING brin (at)', part);
        EXECUTE format('CREATE INDEX ON ledger.%I USING brin (batch)', part);
        IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'trackarr_app') THEN
            EXECUTE format('GRANT SELECT, INSERT ON ledger.%I TO trackarr_app', part);
        END IF;
    END IF;
    RETURN part;
END $$;

-- Order of entries of one stream: the lease's epoch, then the counter (tracker/wire.py).
CREATE FUNCTION ledger.entry_after(later text, earlier text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT
RETURN (split_part(later, '-', 1)::numeric, split_part(later, '-', 2)::numeric)
     > (split_part(earlier, '-', 1)::numeric, split_part(earlier, '-', 2)::numeric);

-- Open the next batch of the ledger and chain it; the caller then inserts its records under
-- the number given back, in the same transaction.
-- hash = SHA-256 over: previous hash (32 bytes; zeros before batch 1), seq (int8), then stream,
-- first_id and last_id each as length (int4) and UTF-8, records (int4), log_position (int8),
-- digest (32 bytes); all integers big-endian. The same formula stands in
-- application/store/chain.py. Refuses entries the ledger already holds.
CREATE FUNCTION ledger.append_batch(
    stream text, first_id text, last_id text, records integer, log_position bigint, digest bytea,
    archived_at timestamptz
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    head record;
    held text;
    place bigint;
    link bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(4711, 2);
    SELECT b.last_id INTO held FROM ledger.batches b
    WHERE b.stream = append_batch.stream ORDER BY b.seq DESC LIMIT 1;
    IF held IS NOT NULL AND NOT ledger.entry_after(append_batch.first_id, held) THEN
        RAISE unique_violation USING
            MESSAGE = 'the ledger already holds these entries', CONSTRAINT = 'batches_overlap';
    END IF;
    SELECT b.seq, b.hash INTO head FROM ledger.batches b ORDER BY b.seq DESC LIMIT 1;
    place := coalesce(head.seq, 0) + 1;
    link := coalesce(head.hash, decode(repeat('00', 32), 'hex'));
    INSERT INTO ledger.batches VALUES (
        place, append_batch.stream, append_batch.first_id, append_batch.last_id,
        append_batch.records, append_batch.log_position, append_batch.digest, link,
        sha256(
            link || int8send(place)
            || int4send(octet_length(convert_to(append_batch.stream, 'UTF8')))
            || convert_to(append_batch.stream, 'UTF8')
            || int4send(octet_length(append_batch.first_id))
            || convert_to(append_batch.first_id, 'UTF8')
            || int4send(octet_length(append_batch.last_id))
            || convert_to(append_batch.last_id, 'UTF8')
            || int4send(append_batch.records) || int8send(append_batch.log_position)
            || append_batch.digest
        ),
        append_batch.archived_at
    );
    RETURN place;
END $$;
