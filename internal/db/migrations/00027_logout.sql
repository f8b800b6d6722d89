-- +goose Up
-- Which clients know of a session, because it was told to them in an ID token that named it: those that said where they
-- want to hear of its end. Not read from the grants, which are gone long before a session is.
--   backchannel   it hears of it from us, and not through the browser alone
CREATE TABLE session_clients (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    backchannel BOOLEAN NOT NULL,
    PRIMARY KEY (session_id, client_id)
);

-- A client that is to be told that a session has ended, until it knows or it is too late. The subject is not here: it
-- follows from the person and the client.
--   id        session and client, so that the end of one session is told once
--   due       when it is tried next
--   expires   when it is given up
--   attempts  how often it was tried; a try that comes back late must not take away a later one's row
CREATE TABLE logout_notices (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    created BIGINT NOT NULL,
    due BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    attempts BIGINT NOT NULL
);
CREATE INDEX logout_notices_client ON logout_notices (client_id, due);
CREATE INDEX logout_notices_expires ON logout_notices (expires);
