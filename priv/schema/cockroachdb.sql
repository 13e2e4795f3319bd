-- MongooseIM's domain tables, for CockroachDB. Created only when asked: DATABASE=url make schema
-- status: 0 disabled, 1 enabled, 2 deleting
-- Run one statement at a time: a comment must not have a semicolon.

-- Ids from sequences: those of a BIGSERIAL would be huge here, and in no order.
CREATE SEQUENCE IF NOT EXISTS domain_settings_id_seq;

CREATE TABLE IF NOT EXISTS domain_settings (
    id BIGINT NOT NULL DEFAULT nextval('domain_settings_id_seq') UNIQUE,
    domain VARCHAR(250) PRIMARY KEY,
    host_type VARCHAR(250) NOT NULL,
    status SMALLINT NOT NULL DEFAULT 1
);

CREATE SEQUENCE IF NOT EXISTS domain_events_id_seq;

CREATE TABLE IF NOT EXISTS domain_events (
    id BIGINT NOT NULL DEFAULT nextval('domain_events_id_seq') PRIMARY KEY,
    domain VARCHAR(250) NOT NULL
);

CREATE INDEX IF NOT EXISTS i_domain_events_domain ON domain_events(domain);

CREATE TABLE IF NOT EXISTS domain_admins (
    domain VARCHAR(250) PRIMARY KEY,
    pass_details TEXT NOT NULL
);
