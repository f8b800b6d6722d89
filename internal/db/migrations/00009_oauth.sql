-- +goose Up
-- Access tokens that were revoked before they expired. A token is known by its jti: the token itself is stored nowhere.
-- Every node holds the rows in memory; a row is of no use once the token has expired by itself, and is swept.
CREATE TABLE revoked_tokens (
    jti TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    revoked BIGINT NOT NULL,
    revoked_by TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX revoked_tokens_expires ON revoked_tokens (expires);
