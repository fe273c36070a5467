-- Market data from brokers: how far each run has read, what it counted, what it could not use.

CREATE TABLE strategy_worker.feed_positions (
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    topic text NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_name, topic, partition)
);
COMMENT ON TABLE strategy_worker.feed_positions IS
    'The next message to read of each partition, written with what came of those before.';
CREATE TRIGGER feed_positions_touched BEFORE UPDATE ON strategy_worker.feed_positions
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();

CREATE TABLE strategy_worker.feed_counts (
    run_name text PRIMARY KEY REFERENCES strategy_worker.runs,
    received bigint NOT NULL CHECK (received = applied + repeated + dead),
    applied bigint NOT NULL CHECK (applied >= 0),
    repeated bigint NOT NULL CHECK (repeated >= 0),
    dead bigint NOT NULL CHECK (dead >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER feed_counts_touched BEFORE UPDATE ON strategy_worker.feed_counts
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();

CREATE TABLE strategy_worker.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    topic text NOT NULL,
    partition integer,
    record_offset bigint,
    code text NOT NULL,
    detail text NOT NULL,
    size integer NOT NULL CHECK (size >= 0),
    content bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retried_at timestamptz
);
COMMENT ON COLUMN strategy_worker.dead_letters.content IS
    'The message as it came; only its beginning when size says that it was longer.';
COMMENT ON COLUMN strategy_worker.dead_letters.retried_at IS
    'When it was published again.';
CREATE INDEX dead_letters_run ON strategy_worker.dead_letters (run_name, dead_letter_id);
