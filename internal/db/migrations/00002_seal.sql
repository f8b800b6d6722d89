-- +goose Up
-- Which root keys open this database's keyring. One slot is in use, "file"; a root key of another kind gets a slot of its
-- own. The primary key is what makes two first starts at once end with one root. The canary tells a wrong key from a
-- damaged row before anything is written.
CREATE TABLE seal_roots (
    slot TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    canary BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- The keyring: for each purpose a random key per term, wrapped under the slot's root key. The highest term seals; all
-- of them open. A term is never changed in place.
CREATE TABLE seal_keys (
    slot TEXT NOT NULL REFERENCES seal_roots (slot),
    purpose TEXT NOT NULL,
    term BIGINT NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (slot, purpose, term)
);
