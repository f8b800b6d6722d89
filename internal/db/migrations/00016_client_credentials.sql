-- +goose Up
-- Secrets of a client beside the one that rotates, each with a label, so that it can have several places at once and each
-- be revoked alone. A revoked one has no row: the audit log remembers it.
--   mac      of the secret, under the keyring: what it is verified by
--   box      empty; or the secret itself, sealed, for a client whose method is client_secret_jwt (OpenID Connect Core
--            section 9): there the secret is the key of an HMAC and never sent, so a MAC of it verifies nothing
--   expires  0: never
CREATE TABLE client_shared_secrets (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES clients (id),
    label TEXT NOT NULL,
    mac BYTEA NOT NULL,
    box BYTEA NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX client_shared_secrets_client ON client_shared_secrets (client_id);

-- Public keys of a client: what it signs is verified with them, and what only it may read is encrypted for them. kid is
-- the name by which the client's tokens call the key, unique within the client; jwk is the whole key (RFC 7517).
CREATE TABLE client_keys (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES clients (id),
    label TEXT NOT NULL,
    kid TEXT NOT NULL,
    jwk TEXT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE UNIQUE INDEX client_keys_kid ON client_keys (client_id, kid);

-- What a client that stands alone may do on its own account: application scopes, each granted by an administrator.
-- (Those of an application's client are in application_scopes.)
CREATE TABLE client_account_scopes (
    client_id TEXT NOT NULL REFERENCES clients (id),
    scope TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    granted BIGINT NOT NULL,
    PRIMARY KEY (client_id, scope)
);
CREATE INDEX client_account_scopes_scope ON client_account_scopes (scope);

-- Initial access tokens (RFC 7591 section 1.2): who has one may register that many clients, within its policy.
--   mac      of the token, under the keyring
--   team     the team that owns what is registered with it; NULL: nobody
--   policy   a JSON document of what may be registered
--   uses     goes up by one with each registration, by compare-and-set, and never beyond max_uses
CREATE TABLE registration_tokens (
    id TEXT PRIMARY KEY,
    mac BYTEA NOT NULL,
    label TEXT NOT NULL,
    team TEXT REFERENCES teams (id),
    policy TEXT NOT NULL,
    max_uses BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE UNIQUE INDEX registration_tokens_mac ON registration_tokens (mac);

-- Clients that registered themselves (RFC 7591). mac is of the registration access token, with which the client reads,
-- changes and deletes its registration (RFC 7592). registration_token is the initial access token that it came with, and
-- policy what that one allowed then, which bounds later changes as well; network is where an anonymous one came from, for
-- the limit. The row outlives its client, without mac and policy, for as long as it counts; ended is then
-- when the client was deleted, else 0.
CREATE TABLE client_registrations (
    client_id TEXT PRIMARY KEY,
    mac BYTEA NOT NULL,
    registration_token TEXT NOT NULL,
    policy TEXT NOT NULL,
    network TEXT NOT NULL,
    created BIGINT NOT NULL,
    ended BIGINT NOT NULL
);
CREATE INDEX client_registrations_network ON client_registrations (network, created);
CREATE INDEX client_registrations_ended ON client_registrations (ended);
