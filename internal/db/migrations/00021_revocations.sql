-- +goose Up
-- Of tokens that a client took back, what verifiers which check by themselves are told of: the hash of the token, with
-- the installation's salt before it. '' for grants that ended, which are told by their id.
ALTER TABLE revoked_tokens ADD COLUMN token_hash TEXT NOT NULL DEFAULT '';
-- The feed for verifiers reads on from an instant.
CREATE INDEX revoked_tokens_revoked ON revoked_tokens (revoked);
-- How many tokens one client has taken back is bounded.
CREATE INDEX revoked_tokens_client ON revoked_tokens (client_id);

-- Revocations of many tokens at once: of all that were issued before an instant and, if names is not empty, carry these
-- claims with these values. Every node holds the rows in memory.
--   kind           what was asked for: claims, client, user, realm, everything
--   names          of the claims, sorted, with spaces between; '' means all tokens
--   claim_values   in the same order, with U+001F between
--   issued_before  in full seconds, because tokens are dated so
--   revoked_by     who asked, as records name callers
--   caller         the key by which one caller's rows are bounded; '' for administrators
--   expires        when the row is of no use, since every token from before has expired by itself
CREATE TABLE revocations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    names TEXT NOT NULL,
    claim_values TEXT NOT NULL,
    issued_before BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    revoked_by TEXT NOT NULL,
    caller TEXT NOT NULL,
    reason TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX revocations_revoked ON revocations (revoked);
CREATE INDEX revocations_caller ON revocations (caller);
CREATE INDEX revocations_expires ON revocations (expires);

-- Who besides administrators may revoke what through the protocol's endpoint: callers whose token carries the required
-- claims may revoke tokens that carry the allowed ones. Both are JSON objects of texts.
CREATE TABLE revocation_rules (
    id TEXT PRIMARY KEY,
    required_user_claims TEXT NOT NULL,
    allowed_revocation_claims TEXT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- The one instant since when verifiers are to forget what they read and read it again, in seconds, and when that was
-- said.
CREATE TABLE revocation_refresh (
    one BIGINT PRIMARY KEY,
    since BIGINT NOT NULL,
    said BIGINT NOT NULL
);

-- All grants that one session of a person began end with it.
CREATE INDEX grants_session ON grants (session_id);
