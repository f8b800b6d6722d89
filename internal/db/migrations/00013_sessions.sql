-- +goose Up
-- Who is signed in, and in which browser. The id is public; the cookie carries it and a secret, of which only the MAC is
-- here. auth_time is when the person last proved to be it, last_seen is written in batches and at most a minute or two
-- late. A person who signs in again in the same browser keeps the id and gets another secret. A session that ends goes
-- from this table; the audit log remembers it.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    verifier BYTEA NOT NULL,
    amr TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    -- The row of known_devices that the browser has.
    device_id TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires);
CREATE INDEX sessions_last_seen ON sessions (last_seen);
