-- An id of a fill is its venue's, and a run may trade at several venues: only within its order is
-- it one of a kind, and by order and id the engine applies each fill once.

ALTER TABLE strategy_worker.execution_fills
    DROP CONSTRAINT execution_fills_pkey,
    ADD PRIMARY KEY (execution_id, order_id, exec_id);
