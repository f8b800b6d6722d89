-- +goose Up
-- The browsers that a person has signed in with before. A browser keeps one random value for all its people; here is its
-- MAC, once for each of them. It signs nobody in: it only gives the browser a count of wrong passwords of its own
-- (login_attempts), and a name in the list that its person sees.
CREATE TABLE known_devices (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    verifier BYTEA NOT NULL,
    created BIGINT NOT NULL,
    -- The last login, from this address, with a browser that calls itself so.
    last_used BIGINT NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL
);
CREATE UNIQUE INDEX known_devices_verifier ON known_devices (verifier, user_id);
CREATE INDEX known_devices_user ON known_devices (user_id, last_used);
CREATE INDEX known_devices_last_used ON known_devices (last_used);

-- The authenticator app of a person (RFC 6238). The seed is sealed for this row.
CREATE TABLE totp_factors (
    id TEXT PRIMARY KEY,
    -- One for each person: a second one would double what a guess can hit.
    user_id TEXT NOT NULL UNIQUE REFERENCES users (id),
    box BYTEA NOT NULL,
    -- The time step of the last code that was accepted. It only grows, by compare-and-set: no code is good twice, nor one
    -- that is older than another that was used.
    last_step BIGINT NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);

-- A seed that was shown to be put into an app, and of which no code has come back yet. It belongs to the session or login
-- that began it (bound): nobody confirms a seed that somebody else has seen.
CREATE TABLE totp_enrolments (
    bound TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    box BYTEA NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX totp_enrolments_expires ON totp_enrolments (expires);

-- Codes for when everything else is lost: MACs of random values. used is 0, or when it was used; by compare-and-set.
CREATE TABLE recovery_codes (
    mac BYTEA PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    created BIGINT NOT NULL,
    used BIGINT NOT NULL
);
CREATE INDEX recovery_codes_user ON recovery_codes (user_id);

-- Passkeys (WebAuthn). A public key is no secret.
CREATE TABLE passkeys (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- As the authenticator names it. Nobody can register one that somebody has.
    credential_id BYTEA NOT NULL UNIQUE,
    public_key BYTEA NOT NULL,
    -- What its owner calls it.
    name TEXT NOT NULL,
    -- How often the authenticator says that it has signed; one that goes back is a copy. 0 for those that do not count.
    sign_count BIGINT NOT NULL,
    -- The model, all zeros if it does not tell.
    aaguid BYTEA NOT NULL,
    -- It may be, and is, kept in more than one place, by the authenticator's own word.
    backup_eligible BOOLEAN NOT NULL,
    backed_up BOOLEAN NOT NULL,
    -- How browsers reach it, separated by spaces.
    transports TEXT NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX passkeys_user ON passkeys (user_id);

-- What authenticators are asked to sign: the MAC of a random value, good once, in the browser that asked, for one purpose
-- and, but for a login without a name, one person.
CREATE TABLE passkey_challenges (
    mac BYTEA PRIMARY KEY,
    browser BYTEA NOT NULL,
    purpose TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL
);
CREATE INDEX passkey_challenges_expires ON passkey_challenges (expires);

-- Logins of which the password was right and the rest is to come. Such a row is no session and leads nowhere but to one:
-- the browser has its secret in a cookie of its own, of which the MAC is here. used is 0, or when it became a session.
CREATE TABLE login_steps (
    mac BYTEA PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- verify: a second factor is asked for; enrol: there is none yet, and one is needed.
    kind TEXT NOT NULL,
    amr TEXT NOT NULL,
    -- What was proved: the password's version by its instant, and since when the person is enabled. If either changes,
    -- this login is over.
    proof BIGINT NOT NULL,
    enabled_since BIGINT NOT NULL,
    -- Where the browser goes afterwards, a path of ours.
    return_to TEXT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL
);
CREATE INDEX login_steps_expires ON login_steps (expires);

-- How many codes were wrong, by person and lane as in login_attempts: in the present five minutes and the present day.
-- Counted before a code is looked at.
CREATE TABLE factor_attempts (
    account TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    began BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    day_began BIGINT NOT NULL,
    day_tries BIGINT NOT NULL
);
CREATE INDEX factor_attempts_user ON factor_attempts (user_id);
CREATE INDEX factor_attempts_day ON factor_attempts (day_began);
