-- +goose Up
-- Kinds of clients, and roles: each a name and a list of scopes with spaces between, as RFC 6749 writes them. They need not
-- be in the catalog. search is the name in lower case, so that both engines fold letters in the same way (ours).
CREATE TABLE client_types (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    search TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);
CREATE TABLE roles (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    search TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);

-- A role that a person has at one client. What clients with a type get for a person is never more than the scopes of the
-- type and of these roles together.
CREATE TABLE user_roles (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    role_id TEXT NOT NULL REFERENCES roles (id),
    client_id TEXT NOT NULL REFERENCES clients (id),
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE UNIQUE INDEX user_roles_triple ON user_roles (user_id, client_id, role_id);
CREATE INDEX user_roles_role ON user_roles (role_id);
CREATE INDEX user_roles_client ON user_roles (client_id);

-- Which clients have a type, and what else belongs to such a client: the person it belongs to, and two JSON objects that
-- its administrators keep there. settings may be shown to anybody who may see the client, priv_settings not on pages.
CREATE TABLE typed_clients (
    client_id TEXT PRIMARY KEY REFERENCES clients (id),
    type_id TEXT NOT NULL REFERENCES client_types (id),
    owner TEXT NOT NULL REFERENCES users (id),
    settings TEXT NOT NULL,
    priv_settings TEXT NOT NULL
);
CREATE INDEX typed_clients_type ON typed_clients (type_id);
CREATE INDEX typed_clients_owner ON typed_clients (owner);

-- An approval can be named by itself. '' in approvals from before.
ALTER TABLE approvals ADD COLUMN id TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX approvals_id ON approvals (id) WHERE id <> '';

-- What the Mithril interface keeps of a person besides: two JSON objects, and why the person is blocked.
CREATE TABLE mithril_users (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    settings TEXT NOT NULL,
    priv_settings TEXT NOT NULL,
    block_reason TEXT NOT NULL
);

-- Tokens that were given through the Mithril interface, so that they can be listed and taken back one by one. The values
-- are stored nowhere: mac is one of the value, prefix its first characters. id is the jti of an access token. superseded
-- is when a refresh token was replaced or a code was used, else 0; revoked when the token was taken back here, else 0: it is
-- listed no more, but its value is still known for what it was.
CREATE TABLE mithril_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    mac BYTEA NOT NULL,
    prefix TEXT NOT NULL,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    grant_type TEXT NOT NULL,
    scopes TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    superseded BIGINT NOT NULL,
    revoked BIGINT NOT NULL
);
CREATE UNIQUE INDEX mithril_tokens_mac ON mithril_tokens (mac);
CREATE INDEX mithril_tokens_user ON mithril_tokens (user_id, client_id);
CREATE INDEX mithril_tokens_client ON mithril_tokens (client_id);
CREATE INDEX mithril_tokens_grant ON mithril_tokens (grant_id);
CREATE INDEX mithril_tokens_expires ON mithril_tokens (expires);

-- Which request made what, by the idempotency key that it brought. key is a MAC of caller, path and key; body one of what
-- was sent, so that another request under the same key is told so. Rows go after a day.
CREATE TABLE mithril_idempotency (
    key BYTEA PRIMARY KEY,
    body BYTEA NOT NULL,
    made TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX mithril_idempotency_expires ON mithril_idempotency (expires);
