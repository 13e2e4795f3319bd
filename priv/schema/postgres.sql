-- MongooseIM's domain tables, for PostgreSQL. Created only when asked: DATABASE=url make schema
-- status: 0 disabled, 1 enabled, 2 deleting

CREATE TABLE IF NOT EXISTS domain_settings (
    id BIGSERIAL UNIQUE,
    domain VARCHAR(250) PRIMARY KEY,
    host_type VARCHAR(250) NOT NULL,
    status SMALLINT NOT NULL DEFAULT 1
);

CREATE TABLE IF NOT EXISTS domain_events (
    id BIGSERIAL PRIMARY KEY,
    domain VARCHAR(250) NOT NULL
);

CREATE INDEX IF NOT EXISTS i_domain_events_domain ON domain_events(domain);

CREATE TABLE IF NOT EXISTS domain_admins (
    domain VARCHAR(250) PRIMARY KEY,
    pass_details TEXT NOT NULL
);
