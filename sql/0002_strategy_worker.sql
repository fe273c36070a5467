-- Executions, their orders and fills, snapshots of positions, risk events. Amounts are exact
-- decimals in the currency of the account. The same facts as in the journal, for people and tools.

CREATE TABLE strategy_worker.strategy_executions (
    execution_id uuid PRIMARY KEY,
    strategy_id text NOT NULL,
    user_id text,
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'paused', 'stopped', 'completed', 'error')),
    config jsonb NOT NULL DEFAULT '{}',
    positions jsonb NOT NULL DEFAULT '{}',
    total_pnl numeric NOT NULL DEFAULT 0,
    realized_pnl numeric NOT NULL DEFAULT 0,
    unrealized_pnl numeric NOT NULL DEFAULT 0,
    total_trades integer NOT NULL DEFAULT 0 CHECK (total_trades >= 0),
    winning_trades integer NOT NULL DEFAULT 0 CHECK (winning_trades >= 0),
    losing_trades integer NOT NULL DEFAULT 0 CHECK (losing_trades >= 0),
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    commission numeric NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_name, strategy_id)
);
CREATE INDEX strategy_executions_status ON strategy_worker.strategy_executions (status);
CREATE INDEX strategy_executions_user ON strategy_worker.strategy_executions (user_id);

CREATE TABLE strategy_worker.execution_orders (
    execution_id uuid NOT NULL REFERENCES strategy_worker.strategy_executions,
    order_id text NOT NULL,
    oms_order_id text,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    order_type text NOT NULL,
    quantity numeric NOT NULL CHECK (quantity > 0),
    price numeric CHECK (price > 0),
    status text NOT NULL CHECK (status IN (
        'PENDING', 'ACCEPTED', 'PARTIALLY_FILLED', 'FILLED', 'REJECTED', 'CANCELLED')),
    filled_quantity numeric NOT NULL DEFAULT 0 CHECK (filled_quantity >= 0),
    filled_price numeric,
    inner_status text NOT NULL,
    reason text,
    stop_price numeric,
    time_in_force text NOT NULL,
    reduce_only boolean NOT NULL,
    verdict jsonb NOT NULL,
    ts_init timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, order_id)
);
COMMENT ON COLUMN strategy_worker.execution_orders.inner_status IS
    'The exact status of the engine; status is the coarser one of the wire.';
CREATE INDEX execution_orders_open ON strategy_worker.execution_orders (execution_id)
    WHERE status IN ('PENDING', 'ACCEPTED', 'PARTIALLY_FILLED');
CREATE INDEX execution_orders_symbol ON strategy_worker.execution_orders (symbol, ts_init);

CREATE TABLE strategy_worker.execution_fills (
    execution_id uuid NOT NULL,
    exec_id text NOT NULL,
    order_id text NOT NULL,
    symbol text NOT NULL,
    quantity numeric NOT NULL CHECK (quantity <> 0),
    price numeric NOT NULL,
    commission numeric NOT NULL,
    position_after numeric NOT NULL,
    realized_pnl numeric NOT NULL,
    cash_after numeric NOT NULL,
    ts_event timestamptz NOT NULL,
    PRIMARY KEY (execution_id, exec_id),
    FOREIGN KEY (execution_id, order_id) REFERENCES strategy_worker.execution_orders
);
COMMENT ON COLUMN strategy_worker.execution_fills.quantity IS 'Signed: a sale is negative.';
CREATE TRIGGER execution_fills_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strategy_worker.execution_fills
    FOR EACH STATEMENT EXECUTE FUNCTION strategy_worker.refuse_change();

CREATE TABLE strategy_worker.position_snapshots (
    snapshot_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES strategy_worker.strategy_executions,
    positions jsonb NOT NULL,
    total_value numeric NOT NULL,
    total_pnl numeric NOT NULL,
    unrealized_pnl numeric NOT NULL,
    ts_event timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX position_snapshots_time
    ON strategy_worker.position_snapshots (execution_id, ts_event);

CREATE TABLE strategy_worker.risk_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id uuid REFERENCES strategy_worker.strategy_executions,
    event_type text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('INFO', 'WARNING', 'CRITICAL')),
    description text NOT NULL,
    action_taken text NOT NULL,
    run_name text NOT NULL REFERENCES strategy_worker.runs,
    symbol text,
    value double precision,
    limit_value double precision,
    ts_event timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN strategy_worker.risk_events.execution_id IS 'Empty for the whole account.';
CREATE INDEX risk_events_severity ON strategy_worker.risk_events (severity, ts_event);
CREATE TRIGGER risk_events_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strategy_worker.risk_events
    FOR EACH STATEMENT EXECUTE FUNCTION strategy_worker.refuse_change();

CREATE TRIGGER strategy_executions_touched BEFORE UPDATE ON strategy_worker.strategy_executions
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
CREATE TRIGGER execution_orders_touched BEFORE UPDATE ON strategy_worker.execution_orders
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();

CREATE VIEW strategy_worker.strategy_metrics AS
SELECT
    strategy_id,
    count(*) AS executions,
    count(*) FILTER (WHERE status = 'active') AS active_executions,
    sum(total_pnl) AS total_pnl,
    sum(realized_pnl) AS realized_pnl,
    sum(unrealized_pnl) AS unrealized_pnl,
    sum(total_trades) AS total_trades,
    sum(winning_trades) AS winning_trades,
    sum(losing_trades) AS losing_trades,
    sum(winning_trades)::numeric / nullif(sum(total_trades), 0) AS win_rate
FROM strategy_worker.strategy_executions
GROUP BY strategy_id;
