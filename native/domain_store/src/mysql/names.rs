//! Names of domains that are to be inserted, locked until the transaction ends.
//!
//! There is nothing in `domain_settings` to lock for such a domain. A row of `domain_admins`, where the
//! domain is a key, stands for it: it is inserted, and deleted in the same transaction, so nobody sees
//! it, but a second transaction that inserts it waits for the first to end. If the domain has an
//! administrator there, that row is locked.

use crate::dialect::{LIST, list, of_list};
use crate::statement::{Sql, statement};
use sqlx::{Error, MySql, MySqlConnection};

pub(super) async fn lock_one(connection: &mut MySqlConnection, domain: &str) -> Result<(), Error> {
    let lock = statement("INSERT IGNORE INTO domain_admins (domain, pass_details) VALUES (?, '')");
    let locked = MySql::execute(connection, lock.bind(domain)).await?;
    let next = if locked.rows_affected() == 1 {
        "DELETE FROM domain_admins WHERE domain = ? AND pass_details = ''"
    } else {
        "SELECT domain, pass_details FROM domain_admins WHERE domain = ? FOR UPDATE"
    };
    MySql::execute(connection, statement(next).bind(domain)).await?;
    Ok(())
}

pub(super) async fn lock_all(
    connection: &mut MySqlConnection,
    domains: &[String],
) -> Result<(), Error> {
    // Tells the rows that are ours from those of administrators.
    let mark = format!("import {:032x}", fastrand::u128(..));
    for chunk in domains.chunks(LIST) {
        // A row that is there is locked (exclusively, so that two transactions which wait for it do not
        // share it first and then stop each other) and left as it is.
        let text = format!(
            "INSERT INTO domain_admins (domain, pass_details) VALUES {} \
             ON DUPLICATE KEY UPDATE pass_details = domain_admins.pass_details",
            list("(?, ?)", chunk)
        );
        let mut lock = of_list(text, chunk);
        for domain in chunk {
            lock = lock.bind(domain).bind(&mark);
        }
        MySql::execute(connection, lock).await?;
        // By its key, whatever the optimizer thinks: reading all of a small table would lock it all.
        let text = format!(
            "DELETE domain_admins FROM domain_admins FORCE INDEX (PRIMARY) \
             WHERE pass_details = ? AND domain IN ({})",
            list("?", chunk)
        );
        let undo = of_list(text, chunk).bind(&mark).bind_all(chunk);
        MySql::execute(connection, undo).await?;
    }
    Ok(())
}
