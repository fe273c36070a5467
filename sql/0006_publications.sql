-- What is told of a run to the world: a row is written in the transaction that keeps the events it
-- tells of, and sent when that is committed.

CREATE TABLE strategy_worker.publications (
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    topic text NOT NULL CHECK (topic IN ('execution', 'positions', 'errors')),
    key text NOT NULL,
    content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_name, sequence)
);
COMMENT ON TABLE strategy_worker.publications IS
    'The messages of a run, in order; how far each destination has them is in publication_cursors.';
COMMENT ON COLUMN strategy_worker.publications.content IS 'The message, JSON, as it is sent.';
CREATE TRIGGER publications_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strategy_worker.publications
    FOR EACH STATEMENT EXECUTE FUNCTION strategy_worker.refuse_change();

CREATE TABLE strategy_worker.publication_cursors (
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    destination text NOT NULL,
    next_sequence bigint NOT NULL DEFAULT 0 CHECK (next_sequence >= 0),
    failing_since timestamptz,
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_name, destination)
);
COMMENT ON COLUMN strategy_worker.publication_cursors.next_sequence IS
    'Everything before it has been acknowledged, or is in publications_refused.';
COMMENT ON COLUMN strategy_worker.publication_cursors.failing_since IS
    'Since when nothing has been acknowledged although something waits; empty while it works.';

CREATE TABLE strategy_worker.publications_refused (
    run_name text NOT NULL,
    destination text NOT NULL,
    sequence bigint NOT NULL,
    reason text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_name, destination, sequence),
    FOREIGN KEY (run_name, sequence) REFERENCES strategy_worker.publications
);
COMMENT ON TABLE strategy_worker.publications_refused IS
    'Messages that a destination will never take as they are, such as one larger than its limit.';

CREATE TRIGGER publication_cursors_touched BEFORE UPDATE ON strategy_worker.publication_cursors
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();

CREATE VIEW strategy_worker.publication_backlog AS
SELECT
    c.run_name,
    c.destination,
    c.next_sequence AS acknowledged,
    coalesce(w.waiting, 0) AS waiting,
    w.oldest AS waiting_since,
    (SELECT count(*) FROM strategy_worker.publications_refused r
     WHERE r.run_name = c.run_name AND r.destination = c.destination) AS refused,
    c.failing_since,
    c.last_error
FROM strategy_worker.publication_cursors c
LEFT JOIN LATERAL (
    SELECT count(*) AS waiting, min(p.created_at) AS oldest
    FROM strategy_worker.publications p
    WHERE p.run_name = c.run_name AND p.sequence >= c.next_sequence
) w ON true;
