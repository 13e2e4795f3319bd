-- MongooseIM's domain tables, for SQLite. Created by the node itself when they are missing.
-- status: 0 disabled, 1 enabled, 2 deleting

CREATE TABLE IF NOT EXISTS domain_settings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain VARCHAR(250) NOT NULL UNIQUE,
    host_type VARCHAR(250) NOT NULL,
    status SMALLINT NOT NULL DEFAULT 1
);

-- AUTOINCREMENT: an id is never used twice, as with a sequence.
CREATE TABLE IF NOT EXISTS domain_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain VARCHAR(250) NOT NULL
);

CREATE INDEX IF NOT EXISTS i_domain_events_domain ON domain_events(domain);

CREATE TABLE IF NOT EXISTS domain_admins (
    domain VARCHAR(250) PRIMARY KEY,
    pass_details TEXT NOT NULL
);
