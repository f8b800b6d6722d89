-- +goose Up
-- Whether the person has shown to receive mail at people.email: when that was, or 0. It goes back to 0 with another
-- address.
ALTER TABLE people ADD COLUMN email_verified BIGINT NOT NULL DEFAULT 0;

-- Why an administrator refuses the person, for other administrators; empty if nothing was said, or while enabled.
ALTER TABLE users ADD COLUMN disabled_reason TEXT NOT NULL DEFAULT '';

-- Mails to be sent, written in the transaction of what they tell of. The mail is sealed for its row, because it may hold a
-- link that opens an account. A job delivers it; then the row goes, or, where the mailbox page stands in for delivery,
-- stays until it expires.
CREATE TABLE mails (
    id TEXT PRIMARY KEY,
    -- What it is about, such as reset. For logs.
    kind TEXT NOT NULL,
    box BYTEA NOT NULL,
    created BIGINT NOT NULL,
    -- 0, or when the mailbox took it.
    sent BIGINT NOT NULL,
    -- From then on it helps nobody, and is not sent any more.
    expires BIGINT NOT NULL
);
CREATE INDEX mails_expires ON mails (expires);
CREATE INDEX mails_sent ON mails (sent);

-- What strangers asked for that ends in a mail, or in none: a link to register, to reset a password. The row is the whole
-- answer to the request, so that it costs the same whether somebody has the address; a job looks that up afterwards. box
-- is what they typed, sealed for its row.
CREATE TABLE account_requests (
    id TEXT PRIMARY KEY,
    box BYTEA NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX account_requests_created ON account_requests (created);

-- Links that open something of an account once: MACs of 256 random bits, of which the purpose is a part.
CREATE TABLE account_links (
    mac BYTEA PRIMARY KEY,
    -- register, verify, reset or invite.
    purpose TEXT NOT NULL,
    -- Whose it is; for register, where there is nobody yet, a MAC of realm and address. Links are counted by it.
    account TEXT NOT NULL,
    -- What must be as it was when the link was made: the password by its instant, since when the person is enabled, and
    -- the address. A change of any of them kills the link.
    proof TEXT NOT NULL,
    -- For register: realm, address and where to go on, sealed for this row. Empty else.
    box BYTEA NOT NULL,
    -- The link was sent to the address alone, so that who opens it has shown to receive mail there.
    mailed BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    -- 0, or when it was used; by compare-and-set.
    used BIGINT NOT NULL
);
CREATE INDEX account_links_account ON account_links (account, purpose, created);
CREATE INDEX account_links_expires ON account_links (expires);
