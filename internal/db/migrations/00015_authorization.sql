-- +goose Up
-- A request for authorization that waits for a person: to sign in, or to decide. The address holds a random handle and
-- the browser a random cookie; here are their MACs, so that the row can be found by who has the one and is answered only
-- to who has the other. It is used at most once, by setting used.
--   pushed    handle of the pushed request that it came from (pushed_requests), which is used with it; empty: none
--   chosen    the session that the person chose to go on with, when the client wanted an account to be chosen
CREATE TABLE authorization_flows (
    handle BYTEA PRIMARY KEY,
    browser BYTEA NOT NULL,
    request TEXT NOT NULL,
    pushed BYTEA NOT NULL,
    chosen TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL
);
CREATE INDEX authorization_flows_expires ON authorization_flows (expires);

-- What a person has allowed a client, remembered so that only new scopes are asked for. scopes is a list with spaces
-- between.
CREATE TABLE approvals (
    user_id TEXT NOT NULL REFERENCES users (id),
    client_id TEXT NOT NULL REFERENCES clients (id),
    scopes TEXT NOT NULL,
    granted BIGINT NOT NULL,
    PRIMARY KEY (user_id, client_id)
);
CREATE INDEX approvals_client ON approvals (client_id);

-- One grant: begun by a code, and lived on by a family of refresh tokens of which one is good at a time. All tokens made
-- from it name it, so that it ends as a whole.
--   began_by              the grant type by which it began: authorization_code, implicit and so on
--   resources             whom its access tokens are for (RFC 8707), with spaces between; empty: this installation
--   claims                what the client asked to be told with the parameter claims, such as "id_token.email"
--   offline               it goes on after the person has signed out: offline_access was allowed
--   front                 tokens came with the answer itself, before any code of it was used
--   acr                   the class of the login that is told to the client: 1, or 2 for more than one factor
--   code_mac, token_mac   MACs of the code and of the newest refresh token; the tokens themselves are stored nowhere
--   code_used             0 until the one use of the code, right or wrong
--   generation            of the newest refresh token; 0 without one. Each refresh adds one, whatever clocks say
--   successor_box         the newest refresh token, sealed under a key that only the one before it yields; with rotated
--                         and retries, for a client that did not get the answer
--   idle_until            when it ends unless it is refreshed. It moves once an hour at most, so that most refreshes
--                         change no index
--   live_until            when it ends in any case
--   ended                 0, or when it was ended; ended_by says why
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    realm TEXT NOT NULL,
    session_id TEXT NOT NULL,
    began_by TEXT NOT NULL,
    scopes TEXT NOT NULL,
    resources TEXT NOT NULL,
    claims TEXT NOT NULL,
    offline BOOLEAN NOT NULL,
    front BOOLEAN NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge TEXT NOT NULL,
    nonce TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    amr TEXT NOT NULL,
    acr TEXT NOT NULL,
    created BIGINT NOT NULL,
    code_mac BYTEA NOT NULL,
    code_used BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    token_mac BYTEA NOT NULL,
    successor_box BYTEA NOT NULL,
    rotated BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    idle_until BIGINT NOT NULL,
    live_until BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    ended_by TEXT NOT NULL
);
CREATE UNIQUE INDEX grants_code ON grants (code_mac);
CREATE INDEX grants_user ON grants (user_id, client_id);
CREATE INDEX grants_client ON grants (client_id);
CREATE INDEX grants_idle_until ON grants (idle_until);
