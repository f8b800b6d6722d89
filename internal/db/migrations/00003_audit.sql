-- +goose Up
-- What happened: one row per event, written in the transaction of the change it tells of, and never changed except for
-- placed. Texts that come from a request are bounded before they get here.
CREATE TABLE audit_events (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    realm TEXT NOT NULL,
    client_id TEXT NOT NULL,
    ip TEXT NOT NULL,
    request_id TEXT NOT NULL,
    target_type TEXT NOT NULL,
    target_id TEXT NOT NULL,
    details TEXT NOT NULL,
    placed BOOLEAN NOT NULL
);
-- The sequencer's queue: only the rows that have no place in the log yet, so it stays small for ever.
CREATE INDEX audit_events_waiting ON audit_events (at, id) WHERE NOT placed;
-- "What happened to this application?" is the one question that people ask every day.
CREATE INDEX audit_events_target ON audit_events (target_type, target_id);

-- The order of the log. seq begins at 1 and has no gap; leaf is the hash of the event as it was when it got its place.
CREATE TABLE audit_log (
    seq BIGINT PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    leaf BYTEA NOT NULL
);

-- The Merkle tree over the leaves, in the dense order of golang.org/x/mod/sumdb/tlog: about two rows per event.
CREATE TABLE audit_hashes (
    idx BIGINT PRIMARY KEY,
    hash BYTEA NOT NULL
);

-- Signed statements "the log has so many records and this root". Rewriting the log makes them contradict it.
CREATE TABLE audit_checkpoints (
    size BIGINT PRIMARY KEY,
    root BYTEA NOT NULL,
    note TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- Who places records: one row. The lease saves work; what keeps two sequencers apart is that each batch compares and
-- sets epoch and size in its own transaction.
CREATE TABLE audit_sequencer (
    id BIGINT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    until BIGINT NOT NULL,
    size BIGINT NOT NULL
);
INSERT INTO audit_sequencer (id, holder, epoch, until, size) VALUES (1, '', 0, 0, 0);
