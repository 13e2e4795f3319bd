//! A node without Erlang: a table, and the driver applying its batches at once.

use domain_store::{Error, Store};
use domain_sync::check::{Outcome, Reason};
use domain_sync::driver::{Ended, run};
use domain_sync::ignored::Ignored;
use domain_sync::pending::Transition;
use domain_sync::routing::Routing;
use domain_table::{Name, Table};
use std::sync::Arc;
use std::time::Duration;

pub const MAX_AGE: Duration = Duration::from_secs(7_200);

pub fn name(text: &str) -> Name {
    text.into()
}

pub struct Node {
    pub routing: Arc<Routing<u32>>,
    pub ignored: Arc<Ignored>,
    /// The source: a restarted service has a new one.
    pub source: u32,
}

impl Node {
    /// A node with the static domain `static.example` (`type1`) and the host types `type1`, `type2`.
    pub fn new() -> Self {
        let statics = [(name("static.example"), name("type1"))];
        let table = Table::new(statics, [name("type1"), name("type2")]);
        Node { routing: Arc::new(Routing::new(table)), ignored: Arc::default(), source: 1 }
    }

    pub async fn try_check(&self, store: &Store) -> Result<Ended, Error> {
        let deliver = |batch: domain_sync::batch::Batch<u32>| {
            assert!(batch.is_for(&self.routing));
            while batch.apply(7) {}
            true
        };
        let (routing, ignored) = (self.routing.clone(), self.ignored.clone());
        run(store, routing, self.source, ignored, MAX_AGE, deliver).await
    }

    pub async fn check(&self, store: &Store) -> Outcome {
        match self.try_check(store).await.unwrap() {
            Ended::With(outcome) => outcome,
            ended => panic!("{ended:?}"),
        }
    }

    pub async fn load(&self, store: &Store) {
        assert_eq!(self.check(store).await, Outcome::Loaded);
        self.follow(store).await;
    }

    pub async fn follow(&self, store: &Store) {
        assert_eq!(self.check(store).await, Outcome::Current);
    }

    pub async fn must_reload(&self, store: &Store, reason: Reason) {
        assert_eq!(self.check(store).await, Outcome::Reload(reason));
    }

    /// What `service_domain_db:restart()` does.
    pub async fn reload(&mut self, store: &Store) {
        self.routing.forget_position();
        self.source += 1;
        self.load(store).await;
    }

    pub fn host_type(&self, domain: &str) -> Option<String> {
        let host_type = self.routing.table().host_type(domain.as_bytes())?;
        Some(host_type.to_string())
    }

    pub fn routes(&self, domain: &str) -> bool {
        self.host_type(domain).is_some()
    }

    pub fn newest(&self) -> Option<i64> {
        self.routing.position().and_then(|position| position.newest())
    }

    /// The transitions since the last call, as `-type1 domain +type2`.
    pub fn notified(&self) -> Vec<String> {
        let text = |sign: &str, name: Option<Name>| {
            name.map(|name| format!("{sign}{name} ")).unwrap_or_default()
        };
        let notified = self.routing.pending(usize::MAX);
        self.routing.acknowledge(notified.len());
        notified
            .into_iter()
            .map(|Transition { domain, removed, added }| {
                let (removed, added) = (text("-", removed), text("+", added));
                format!("{removed}{added}{domain}")
            })
            .collect()
    }
}
