-- +goose Up
-- What /metrics counts at each scrape: the versions that live, by kind and state, with all that is said of them, and what
-- is in trouble. It must not read through the retired versions, which are kept, nor through all that is well.
CREATE INDEX rotation_versions_live ON rotation_versions (kind, state, prepared_at, activated_at, retiring_at) WHERE state IN ('prepared', 'active', 'retiring');
CREATE INDEX rotation_credentials_problem ON rotation_credentials (kind) WHERE live AND problem <> '';
CREATE INDEX rotation_deliveries_failing ON rotation_deliveries (store) WHERE failures > 0;

-- What people let clients do that has not ended: each new grant counts those of its person and client, and ended ones stay
-- for a while.
CREATE INDEX grants_live ON grants (user_id, client_id, created) WHERE ended = 0;
