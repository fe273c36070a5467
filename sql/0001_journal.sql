-- The journal: what entered each run, hash-chained, and never changed again.

CREATE TABLE strategy_worker.runs (
    run_name text PRIMARY KEY,
    profile text NOT NULL,
    status text NOT NULL DEFAULT 'RUNNING' CHECK (status IN ('RUNNING', 'COMPLETED')),
    header jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN strategy_worker.runs.header IS
    'Settings and instruments the run was begun with; it goes on under no others.';

CREATE TABLE strategy_worker.journal (
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    batch bigint NOT NULL CHECK (batch >= 0),
    first_input bigint NOT NULL CHECK (first_input >= 0),
    inputs integer NOT NULL CHECK (inputs >= 0),
    events integer NOT NULL CHECK (events >= 0),
    record bytea NOT NULL,
    events_hash bytea NOT NULL CHECK (length(events_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_name, batch)
);
COMMENT ON COLUMN strategy_worker.journal.record IS
    'MessagePack of the inputs, in the order they were handled.';
COMMENT ON COLUMN strategy_worker.journal.events_hash IS
    'SHA-256 over the MessagePack of every event of the run so far.';
COMMENT ON COLUMN strategy_worker.journal.hash IS
    'SHA-256 over the hash of the batch before, the record and events_hash.';

CREATE FUNCTION strategy_worker.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of strategy_worker.% is refused: it is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER journal_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strategy_worker.journal
    FOR EACH STATEMENT EXECUTE FUNCTION strategy_worker.refuse_change();

CREATE FUNCTION strategy_worker.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER runs_touched BEFORE UPDATE ON strategy_worker.runs
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
