-- What people tell an engine at work: one row a command, taken once.

CREATE TABLE strategy_worker.operator_commands (
    command_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    command text NOT NULL CHECK (command IN ('halt', 'reduce', 'resume', 'flatten')),
    strategy_id text,
    reason text NOT NULL,
    given_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    taken_at timestamptz,
    withdrawn_at timestamptz,
    CHECK (taken_at IS NULL OR withdrawn_at IS NULL)
);
COMMENT ON COLUMN strategy_worker.operator_commands.taken_at IS
    'When the engine handed it to the risk gate; what came of it is in risk_events.';
COMMENT ON COLUMN strategy_worker.operator_commands.withdrawn_at IS
    'When whoever gave it gave up waiting: no engine takes it any more.';
CREATE INDEX operator_commands_waiting ON strategy_worker.operator_commands (run_name, command_id)
    WHERE taken_at IS NULL AND withdrawn_at IS NULL;

CREATE FUNCTION strategy_worker.tell_engine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tetrad_commands', NEW.run_name);
    RETURN NEW;
END $$;

CREATE TRIGGER operator_commands_told AFTER INSERT ON strategy_worker.operator_commands
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.tell_engine();
