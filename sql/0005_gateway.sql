-- The gateway: users with a virtual balance, their sessions, and what they ordered and hold.
-- Quantities, prices and amounts are exact decimals; amounts are in the currency of the user.

CREATE SCHEMA gateway;

CREATE TABLE gateway.users (
    id text PRIMARY KEY,
    virtual_balance numeric NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN gateway.users.virtual_balance IS
    'Cash; below zero where a market order filled beyond the price it was judged at.';

CREATE TABLE gateway.strategies (
    strategyid text PRIMARY KEY,
    user_id text NOT NULL REFERENCES gateway.users,
    name text NOT NULL,
    symbol text,
    python_code text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateway.securities (
    ticker text PRIMARY KEY,
    active boolean NOT NULL DEFAULT true,
    sector text,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateway.sessions (
    id text PRIMARY KEY,
    strategy_id text NOT NULL REFERENCES gateway.strategies,
    user_id text NOT NULL REFERENCES gateway.users,
    mode text NOT NULL DEFAULT 'paper' CHECK (mode IN ('paper', 'live')),
    status text NOT NULL DEFAULT 'RUNNING' CHECK (status IN ('RUNNING', 'STOPPED')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_user ON gateway.sessions (user_id);

CREATE TABLE gateway.orders (
    client_order_id text PRIMARY KEY,
    session_id text NOT NULL REFERENCES gateway.sessions,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric NOT NULL CHECK (quantity > 0),
    price numeric NOT NULL CHECK (price > 0),
    next_quantity numeric CHECK (next_quantity > 0),
    next_price numeric CHECK (next_price > 0),
    status text NOT NULL,
    venue_order_id text NOT NULL DEFAULT '',
    filled_quantity numeric NOT NULL DEFAULT 0 CHECK (filled_quantity >= 0),
    filled_cost numeric NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
COMMENT ON COLUMN gateway.orders.price IS 'What it is judged at: its limit, stop or last price.';
COMMENT ON COLUMN gateway.orders.next_quantity IS
    'What a replacement asks for that the venue has not answered.';
CREATE INDEX orders_open ON gateway.orders (session_id) WHERE closed_at IS NULL;

CREATE TABLE gateway.signals (
    signal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id text NOT NULL REFERENCES gateway.sessions,
    client_order_id text NOT NULL,
    symbol text NOT NULL,
    action text NOT NULL CHECK (action IN ('BUY', 'SELL')),
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    confidence double precision CHECK (confidence BETWEEN 0 AND 1),
    refused text,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN gateway.signals.refused IS 'Why it became no order; empty when it did.';
CREATE INDEX signals_session ON gateway.signals (session_id, created_at);

CREATE TABLE gateway.positions (
    session_id text NOT NULL REFERENCES gateway.sessions,
    symbol text NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    average_entry_price numeric GENERATED ALWAYS AS
        (CASE WHEN quantity = 0 THEN 0 ELSE cost / quantity END) STORED,
    realized_pnl numeric NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, symbol),
    CHECK (quantity <> 0 OR cost = 0)
);
COMMENT ON COLUMN gateway.positions.quantity IS 'Signed: a short position is negative, as its cost.';

CREATE TABLE gateway.trades (
    client_order_id text NOT NULL REFERENCES gateway.orders,
    exec_id text NOT NULL,
    session_id text NOT NULL REFERENCES gateway.sessions,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric NOT NULL CHECK (quantity > 0),
    price numeric NOT NULL CHECK (price > 0),
    commission numeric NOT NULL,
    realized_pnl numeric NOT NULL,
    balance_after numeric NOT NULL,
    ts_event timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_order_id, exec_id)
);
CREATE INDEX trades_session ON gateway.trades (session_id, ts_event);
CREATE TRIGGER trades_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway.trades
    FOR EACH STATEMENT EXECUTE FUNCTION strategy_worker.refuse_change();

CREATE TRIGGER users_touched BEFORE UPDATE ON gateway.users
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
CREATE TRIGGER strategies_touched BEFORE UPDATE ON gateway.strategies
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
CREATE TRIGGER securities_touched BEFORE UPDATE ON gateway.securities
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
CREATE TRIGGER sessions_touched BEFORE UPDATE ON gateway.sessions
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
CREATE TRIGGER orders_touched BEFORE UPDATE ON gateway.orders
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
CREATE TRIGGER positions_touched BEFORE UPDATE ON gateway.positions
    FOR EACH ROW EXECUTE FUNCTION strategy_worker.touch();
