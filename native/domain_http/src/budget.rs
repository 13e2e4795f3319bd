//! How much lists may take in memory: those of one request by its budget, those of all by the places
//! for requests that have lists.
//!
//! It is decided by the number of domains, before any of them is copied, and by the length of their names
//! as they are read. A request keeps its place until its answer is sent, so a client that reads slowly keeps others with lists waiting, and no
//! memory grows.

use crate::admin::TooMany;
use crate::node::Refusal;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The requests with lists that are answered at a time, and how long another one waits.
const PLACES: usize = 2;
const WAIT: Duration = Duration::from_secs(15);
/// The bytes of a request: enough for a list of 200,000 domains with all their fields.
const BYTES: usize = 320 * 1024 * 1024;
/// What a value takes while it is made, beside the name of its field and its text: measured, 220 MB for
/// 199,000 domains with four fields.
const VALUE: usize = 275;
/// A text is there as a value and in the answer.
const COPIES: usize = 2;

/// The places.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

/// The budget of a request.
pub struct Budget {
    places: Places,
    place: OnceCell<OwnedSemaphorePermit>,
    left: Mutex<usize>,
}

impl Default for Places {
    fn default() -> Self {
        Places(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Places {
    pub fn budget(&self) -> Budget {
        Budget { places: self.clone(), place: OnceCell::new(), left: Mutex::new(BYTES) }
    }
}

impl Budget {
    /// Waits for a place, and takes so many bytes as a list of so many entries needs, each with a
    /// value in each of these fields.
    pub async fn take<'a>(
        &self,
        entries: usize,
        fields: impl Iterator<Item = &'a str>,
    ) -> Result<(), TooMany> {
        let entry: usize = fields.map(|field| VALUE + field.len()).sum();
        self.take_bytes(entries.saturating_mul(entry.max(VALUE)))?;
        self.place.get_or_try_init(|| self.places.take()).await.map(drop)
    }

    /// Takes what texts of so many bytes in all need, each in one field.
    pub fn take_text(&self, bytes: usize) -> Result<(), TooMany> {
        self.take_bytes(bytes.saturating_mul(COPIES))
    }

    fn take_bytes(&self, bytes: usize) -> Result<(), TooMany> {
        let mut left = self.left.lock();
        *left = left.checked_sub(bytes).ok_or(TooMany::Domains)?;
        Ok(())
    }
}

impl Places {
    async fn take(&self) -> Result<OwnedSemaphorePermit, TooMany> {
        let place = timeout(WAIT, self.0.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or_else(|| Refusal::busy("requests for lists").into())
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, Places, VALUE};
    use futures_util::FutureExt;

    #[tokio::test]
    async fn lists_of_a_request_share_its_budget() {
        let budget = Places::default().budget();
        let all = BYTES / VALUE;
        assert!(budget.take(all / 2, [""].into_iter()).await.is_ok());
        // Fields count each, and the name of a field counts for each domain.
        assert!(budget.take(all / 4, ["", "", ""].into_iter()).await.is_err());
        let long = "x".repeat(2 * VALUE);
        assert!(budget.take(all / 4, [long.as_str()].into_iter()).await.is_err());
        assert!(budget.take(usize::MAX, [""].into_iter()).await.is_err());
        assert!(budget.take_text(all / 2 * VALUE).is_err());
        assert!(budget.take_text(usize::MAX).is_err());
        assert!(budget.take(all / 4, ["", ""].into_iter()).await.is_ok());
        assert!(budget.take(all / 4, std::iter::empty()).await.is_err());
    }

    #[tokio::test]
    async fn a_request_waits_until_one_of_the_others_is_done() {
        let places = Places::default();
        let [first, second, third] = [places.budget(), places.budget(), places.budget()];
        let take = async |budget: &super::Budget| budget.take(1, ["domain"].into_iter()).await;
        assert!(take(&first).await.is_ok());
        assert!(take(&second).await.is_ok());
        // Who has a place needs no other.
        assert!(take(&second).await.is_ok());
        let mut waiting = Box::pin(take(&third));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.await.is_ok());
    }
}
