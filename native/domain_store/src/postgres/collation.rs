//! What sorts domains by bytes on PostgreSQL. If the column does so by itself its index serves, and a
//! page of a list takes less than a millisecond, not hundreds.

use super::{query, version};
use sqlx::{PgConnection, Row};

/// Twice as fast as `convert_to(domain, 'UTF8')`, and an index with this collation serves.
const DOMAIN_BYTES: &str = "domain COLLATE \"C\"";
/// Whose rules sort the column, by which name: its own collation or the database's. PostgreSQL
/// before 15 has no column `datlocprovider`: the C library's rules, always.
const COLLATION: &str = "SELECT \
     CASE collprovider WHEN 'd' THEN COALESCE(to_jsonb(d) ->> 'datlocprovider', 'c') \
         ELSE collprovider::text END, \
     COALESCE(CASE collprovider WHEN 'd' THEN datcollate ELSE collcollate END::text, '') \
     FROM pg_attribute JOIN pg_collation AS c ON c.oid = attcollation \
     JOIN pg_database AS d ON datname = current_database() \
     WHERE attrelid = 'domain_settings'::regclass AND attname = 'domain'";

pub(super) async fn domain_bytes(
    connection: &mut PgConnection,
) -> Result<&'static str, sqlx::Error> {
    // CockroachDB's texts are sorted by bytes, if they have no collation, as here.
    let mut by_itself = version(connection).await?.starts_with("CockroachDB");
    if !by_itself {
        let row = query(COLLATION).fetch_one(connection).await?;
        by_itself = is_order_of_bytes(row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
    }
    Ok(if by_itself { "domain" } else { DOMAIN_BYTES })
}

/// By the manual of PostgreSQL ("Locale Providers"): its own locales (`b`) all sort by code points,
/// which in UTF-8 is by bytes; of the C library's (`c`) these do.
fn is_order_of_bytes(provider: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "");
    provider == "b" || provider == "c" && ["c", "posix", "c.utf8"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::{DOMAIN_BYTES, is_order_of_bytes};
    use crate::Config;
    use crate::database::Database;
    use crate::postgres::options_of_url;
    use sqlx::Postgres;
    use test_database::TestDatabase;

    #[test]
    fn the_collations_that_sort_by_bytes_are_known() {
        for (provider, name, expected) in [
            ("c", "C", true),
            ("c", "POSIX", true),
            ("c", "C.UTF-8", true),
            ("c", "C.utf8", true),
            ("c", "en_US.UTF-8", false),
            ("c", "", false),
            ("b", "en_US.UTF-8", true),
            // The name is for what ICU does not do.
            ("i", "C", false),
        ] {
            assert_eq!(is_order_of_bytes(provider, name), expected, "{provider} {name}");
        }
    }

    #[tokio::test]
    async fn the_index_serves_where_it_sorts_by_bytes() {
        let server = TestDatabase::empty_postgres().await;
        let natural = "LOCALE_PROVIDER icu ICU_LOCALE 'en'";
        let c = "ALTER TABLE domain_settings ALTER domain TYPE VARCHAR(250) COLLATE \"C\"";
        let cases = [
            ("c", "LOCALE 'C'", "", "domain"),
            ("natural", natural, "", DOMAIN_BYTES),
            // ICU's, whatever the C library's collation is.
            ("mixed", "LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en'", "", DOMAIN_BYTES),
            ("column", natural, c, "domain"),
        ];
        for (name, locale, statement, expected) in cases {
            let url = format!("{}_{name}", server.url);
            let name = url.rsplit_once('/').unwrap().1;
            server.execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {locale}")).await;
            let (options, _) = options_of_url(&url).unwrap();
            let database = Database::<Postgres>::open(options, &Config::new(&url)).unwrap();
            database.create_schema().await.unwrap();
            let mut connection = database.lease().await.unwrap();
            sqlx::raw_sql(statement).execute(&mut **connection).await.unwrap();
            for _ in 0..2 {
                let found = database.domain_bytes().await.unwrap();
                assert_eq!(found, expected, "{name}");
            }
        }
    }
}
