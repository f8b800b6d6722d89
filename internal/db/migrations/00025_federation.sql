-- +goose Up
-- Providers of other organisations with which the people of a realm sign in (OpenID Connect). Administrators make them.
CREATE TABLE login_providers (
    -- The administrator's name for it. It stands in the redirect URI that is registered at the provider.
    id TEXT PRIMARY KEY,
    realm TEXT NOT NULL,
    -- On the button.
    name TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    -- iss of its tokens, and where its metadata is. It does not change while people are linked: its subjects would come to
    -- mean others.
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    -- How we authenticate at its token endpoint.
    client_auth TEXT NOT NULL,
    -- The client secret, sealed for this row and secret_version; empty without one.
    box BYTEA NOT NULL,
    secret_version BIGINT NOT NULL,
    -- Scopes, claims and policy, as JSON.
    settings TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);

-- Who somebody of a provider is here. One identity there is at most one person here, for good until it is unlinked.
CREATE TABLE linked_identities (
    id TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL REFERENCES login_providers (id),
    -- sub of its tokens: the one name of a person there that never comes to mean another.
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- What the provider calls the person, for the person itself to tell several apart.
    label TEXT NOT NULL,
    created BIGINT NOT NULL,
    -- 0: never.
    last_used BIGINT NOT NULL
);
CREATE UNIQUE INDEX linked_identities_subject ON linked_identities (provider_id, subject);
CREATE INDEX linked_identities_user ON linked_identities (user_id);

-- Logins that were sent to a provider. Such a row is no session. state and nonce are random values of which the browser or
-- the provider brings one back; what proves that it is the same browser lies in a cookie of its own.
CREATE TABLE upstream_logins (
    id TEXT PRIMARY KEY,
    -- MAC of the state.
    state BYTEA NOT NULL UNIQUE,
    -- MAC of the browser's cookie, from which the verifier of PKCE and the nonce are derived.
    browser BYTEA NOT NULL,
    provider_id TEXT NOT NULL REFERENCES login_providers (id),
    -- login, or link: somebody who is signed in wants to add an identity.
    kind TEXT NOT NULL,
    -- For link: whom, and in which session. Empty else.
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    -- Where the browser goes afterwards, a path of ours.
    return_to TEXT NOT NULL,
    -- Two factors are wanted, whatever the person's own policy says.
    two BOOLEAN NOT NULL,
    -- The person is to prove anew that it is there: what it proved before begun does not count.
    again BOOLEAN NOT NULL,
    begun BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    -- 0, or when the provider's answer came; by compare-and-set.
    answered BIGINT NOT NULL,
    -- What the provider said of a person whom nobody here is linked with yet, sealed for this row. Empty else.
    box BYTEA NOT NULL,
    -- 0, or when that was used; by compare-and-set.
    used BIGINT NOT NULL
);
CREATE INDEX upstream_logins_expires ON upstream_logins (expires);
CREATE INDEX upstream_logins_provider ON upstream_logins (provider_id);

-- Which sessions began with a provider, so that they end when it says so, or when the identity is unlinked.
CREATE TABLE upstream_sessions (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    provider_id TEXT NOT NULL REFERENCES login_providers (id),
    subject TEXT NOT NULL,
    -- sid of the provider's session, or empty.
    sid TEXT NOT NULL
);
CREATE INDEX upstream_sessions_subject ON upstream_sessions (provider_id, subject);
CREATE INDEX upstream_sessions_sid ON upstream_sessions (provider_id, sid);

-- What a login under way that began with a provider has proved there, as JSON; empty with a password.
ALTER TABLE login_steps ADD COLUMN upstream TEXT NOT NULL DEFAULT '';
