//! Operations that the database asks to repeat.
//!
//! Transactions that run at the same time can stop each other: a deadlock, a row that another one has
//! changed (SQLSTATE 40001), SQLite's one writer. Nothing was done then, and trying again is all that is
//! asked for. On PostgreSQL and MySQL this is rare, as every transaction of ours says its isolation
//! level, whatever the server's default is; CockroachDB asks for it at any time.

use crate::Error;
use std::time::{Duration, Instant};

/// How often an operation is tried.
const TRIES: u32 = 10;

/// Repeats an operation as often as the database asks for it: at most [`TRIES`] times, and no more
/// when the time limit is over, as each try may have taken all of it.
pub(crate) async fn repeated<T, F>(
    limit: Duration,
    mut operation: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let begun = Instant::now();
    let mut tries = 1;
    loop {
        match operation().await {
            Err(error) if error.asks_for_retry() && tries < TRIES && begun.elapsed() < limit => {
                tokio::time::sleep(pause(tries)).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

/// The pause before the next try: up to 10 ms, 20 ms, 40 ms …, at random, so that two transactions
/// that stopped each other do not meet again.
fn pause(tries: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..=5_000 << tries.min(7)))
}

#[cfg(test)]
mod tests {
    use super::{TRIES, repeated};
    use crate::{Error, ErrorKind};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(3600);

    /// What `answer` says to the number of each try, until it is the last one; and how many there were.
    async fn tries(
        limit: Duration,
        answer: impl Fn(u32) -> Result<(), Error>,
    ) -> (Result<(), Error>, u32) {
        let mut count = 0;
        let result = repeated(limit, || {
            count += 1;
            std::future::ready(answer(count))
        });
        (result.await, count)
    }

    #[tokio::test]
    async fn what_the_database_asks_for_is_done() {
        let (result, count) =
            tries(LONG, |n| if n < 5 { Err(Error::busy()) } else { Ok(()) }).await;
        assert!(result.is_ok());
        assert_eq!(count, 5);
    }

    #[tokio::test]
    async fn there_is_an_end_to_it() {
        let (result, count) = tries(LONG, |_| Err(Error::busy())).await;
        assert!(result.unwrap_err().asks_for_retry());
        assert_eq!(count, TRIES);
        let (_, count) = tries(Duration::ZERO, |_| Err(Error::busy())).await;
        assert_eq!(count, 1, "the time limit is over");
    }

    #[tokio::test]
    async fn other_errors_are_not_repeated() {
        let (result, count) = tries(LONG, |_| Err(Error::bad_option("no"))).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::BadOption);
        assert_eq!(count, 1);
    }
}
