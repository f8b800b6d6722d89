-- +goose Up
CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);

-- Who is in a team, by the name of somebody who is known when he is put there. It follows the person to another name, and
-- goes with the person, so that nobody takes a place over with a name.
CREATE TABLE team_members (
    team TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    realm TEXT NOT NULL,
    username TEXT NOT NULL,
    PRIMARY KEY (team, realm, username)
);
CREATE INDEX team_members_user ON team_members (realm, username);

-- Applications are never deleted, only set inactive: ids stay taken, history stays readable.
-- criticality_level 0 is "not classified". search holds the searched fields in lower case, so that both engines fold
-- letters in the same way (ours).
CREATE TABLE applications (
    id TEXT PRIMARY KEY,
    team TEXT NOT NULL REFERENCES teams (id),
    active BOOLEAN NOT NULL,
    name TEXT NOT NULL,
    subtitle TEXT NOT NULL,
    description TEXT NOT NULL,
    service_url TEXT NOT NULL,
    scm_url TEXT NOT NULL,
    documentation_url TEXT NOT NULL,
    specification_url TEXT NOT NULL,
    specification_type TEXT NOT NULL,
    support_url TEXT NOT NULL,
    incident_contact TEXT NOT NULL,
    criticality_level BIGINT NOT NULL,
    publicly_accessible BOOLEAN NOT NULL,
    search TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);
CREATE INDEX applications_team ON applications (team);

-- OAuth clients. The id stays the same when secrets rotate. Most belong to an application, one each, made with it; the
-- others stand alone (application NULL; NULLs do not collide in a unique index on either engine): those have an owner of
-- their own and no service user.
--   owner_team, owner_user  who may change a client that stands alone; at most one of them. A client that a stranger
--                           registered has neither: administrators and its registration token alone change it
--   untrusted               nobody whom we know vouches for it: people are asked each time
--   expires                 0, or when the client is removed unless it was used; the first use sets it to 0
--   enabled_since           as for users
CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    application TEXT UNIQUE REFERENCES applications (id),
    owner_team TEXT REFERENCES teams (id),
    owner_user TEXT REFERENCES users (id),
    untrusted BOOLEAN NOT NULL,
    confidential BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    enabled_since BIGINT NOT NULL,
    disabled BIGINT NOT NULL
);
CREATE INDEX clients_owner_team ON clients (owner_team);
CREATE INDEX clients_owner_user ON clients (owner_user);
CREATE INDEX clients_expires ON clients (expires);

-- The versions of a client's secret: the same columns and rules as service_passwords.
CREATE TABLE client_secrets (
    client_id TEXT NOT NULL REFERENCES clients (id),
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    verifier BYTEA NOT NULL,
    prepared BIGINT NOT NULL,
    activated BIGINT NOT NULL,
    retired BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    PRIMARY KEY (client_id, version)
);

-- What an application may do on its own account: application scopes, each granted by an administrator.
CREATE TABLE application_scopes (
    application TEXT NOT NULL REFERENCES applications (id),
    scope TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    granted BIGINT NOT NULL,
    PRIMARY KEY (application, scope)
);
CREATE INDEX application_scopes_scope ON application_scopes (scope);

-- What the application's client may ask a resource owner for: resource owner scopes, declared by the owning team.
CREATE TABLE client_scopes (
    client_id TEXT NOT NULL REFERENCES clients (id),
    scope TEXT NOT NULL,
    declared_by TEXT NOT NULL,
    declared BIGINT NOT NULL,
    PRIMARY KEY (client_id, scope)
);
CREATE INDEX client_scopes_scope ON client_scopes (scope);
