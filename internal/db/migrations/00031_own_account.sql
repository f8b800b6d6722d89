-- +goose Up
-- Whom an event is about if somebody else did it: an administrator, a stranger, the server. Empty if nobody, or if it is
-- the actor. It is derived from the event (audit.Event) so that a person's own page need not read the log, and no part of
-- what the log proves.
ALTER TABLE audit_events ADD COLUMN about TEXT NOT NULL DEFAULT '';
-- "What was done with my account?" is two reads: what the person did, newest first, and what was done to it by others.
CREATE INDEX audit_events_person ON audit_events (actor_id, at, id) WHERE actor_kind = 'person';
CREATE INDEX audit_events_about ON audit_events (about, at, id) WHERE about <> '';

-- Since when the person lets the client do anything: granted moves with each scope that is added.
ALTER TABLE approvals ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
UPDATE approvals SET since = granted;
-- When a grant last began by it, to the minute; 0: never. Refreshes are told by grants, as long as there are any.
ALTER TABLE approvals ADD COLUMN used BIGINT NOT NULL DEFAULT 0;

-- In which language the person wants to be spoken to, such as de; empty for what the browser says.
ALTER TABLE people ADD COLUMN language TEXT NOT NULL DEFAULT '';

-- Where a link was sent, as a MAC of the address, so that few letters go to one address within an hour, whatever for and
-- of whatever realm; empty if it was handed over.
ALTER TABLE account_links ADD COLUMN address TEXT NOT NULL DEFAULT '';
CREATE INDEX account_links_address ON account_links (address, created) WHERE address <> '';

-- How often addresses have tried something that strangers may not try without end: wrong passwords for whatever accounts,
-- links to letters. Counted before it is looked at, for all nodes. The key is a MAC of what is tried and of the network:
-- the address, or of IPv6 the /64. Forgotten ten minutes after the first.
CREATE TABLE address_tries (
    network TEXT PRIMARY KEY,
    began BIGINT NOT NULL,
    tries BIGINT NOT NULL
);
CREATE INDEX address_tries_began ON address_tries (began);
