-- Executions that begin and end while a run is at work: a strategy may have several, one after
-- another.

ALTER TABLE strategy_worker.strategy_executions
    DROP CONSTRAINT strategy_executions_run_name_strategy_id_key,
    ADD COLUMN run_strategy_id text;
UPDATE strategy_worker.strategy_executions SET run_strategy_id = strategy_id;
ALTER TABLE strategy_worker.strategy_executions ALTER COLUMN run_strategy_id SET NOT NULL;
COMMENT ON COLUMN strategy_worker.strategy_executions.strategy_id IS
    'Id of the strategy as whoever began it gave it.';
COMMENT ON COLUMN strategy_worker.strategy_executions.run_strategy_id IS
    'Id of the strategy in the run, with which its order ids begin.';
CREATE UNIQUE INDEX strategy_executions_one_at_a_time
    ON strategy_worker.strategy_executions (run_name, run_strategy_id) WHERE status = 'active';

ALTER TABLE strategy_worker.operator_commands
    DROP CONSTRAINT operator_commands_command_check,
    ADD CONSTRAINT operator_commands_command_check CHECK (command IN (
        'halt', 'reduce', 'resume', 'flatten', 'stop', 'stop-keep', 'stop-flatten'));
