-- MongooseIM's domain tables, for MySQL and MariaDB. Created only when asked:
-- DATABASE=url make schema
-- status: 0 disabled, 1 enabled, 2 deleting

-- As in MongooseIM, without a key or an index on the domain.
CREATE TABLE IF NOT EXISTS domain_settings (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    domain VARCHAR(250) NOT NULL,
    host_type VARCHAR(250) NOT NULL,
    status TINYINT NOT NULL DEFAULT 1
) CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS domain_events (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    domain VARCHAR(250) NOT NULL,
    INDEX i_domain_events_domain (domain)
) CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS domain_admins (
    domain VARCHAR(250) NOT NULL PRIMARY KEY,
    pass_details TEXT NOT NULL
) CHARACTER SET utf8mb4;
