-- +goose Up
-- A device that waits until a person has let its client act (RFC 8628). The device holds the device code and shows the
-- user code; here are their MACs alone.
--   scopes        what it asks for, with spaces between
--   resources     whom its access tokens shall be for (RFC 8707), with spaces between
--   max_age       how many seconds may lie between the person's login and the question; -1: as the client's setting says
--   acr_values    the classes of login that are wanted, with spaces between; '': as the client's setting says
--   ip, agent     where the device asked from and what it calls itself, for the person to compare
--   state         'pending' until a person decides, then 'allowed' or 'denied'; 'used' once the tokens were fetched. Each
--                 move is an update that names the state before, so that only one of two counts
--   grant_id      the grant that the decision began; '' before
--   pause         how many seconds the device must wait between two polls: five more whenever it does not
--   polled        when it polled last; 0 before
CREATE TABLE device_authorizations (
    device_mac BYTEA PRIMARY KEY,
    user_mac BYTEA NOT NULL,
    client_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    resources TEXT NOT NULL,
    max_age BIGINT NOT NULL,
    acr_values TEXT NOT NULL,
    ip TEXT NOT NULL,
    agent TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    state TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    pause BIGINT NOT NULL,
    polled BIGINT NOT NULL
);
CREATE UNIQUE INDEX device_authorizations_user ON device_authorizations (user_mac);
CREATE INDEX device_authorizations_expires ON device_authorizations (expires);

-- Wrong user codes, counted by where they came from: who is the MAC of a network or of a session. All nodes share the
-- count, because a user code is short enough to be guessed by somebody who has enough tries.
CREATE TABLE device_guesses (
    who BYTEA PRIMARY KEY,
    wrong BIGINT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX device_guesses_since ON device_guesses (since);

-- The origins whose scripts may read what is answered about a client, so that it can be told from memory whether any
-- client has one: a browser asks before it says which client it is about. Derived from the client's settings.
CREATE TABLE client_origins (
    origin TEXT NOT NULL,
    client_id TEXT NOT NULL,
    PRIMARY KEY (origin, client_id)
);
CREATE INDEX client_origins_client ON client_origins (client_id);
