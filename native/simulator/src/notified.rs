//! What others have been notified of (I7): every transition, once and in order, but for additions of
//! which nobody has to be notified.

use crate::violation::{Violation, violation};
use domain_sync::pending::Transition;
use domain_table::{Name, Pair};
use std::collections::BTreeMap;

/// What others have been notified of (I7).
#[derive(Default)]
pub struct Notified(BTreeMap<Name, Name>);

impl Notified {
    /// They are notified of a transition.
    pub fn notify(&mut self, transition: &Transition) -> Result<(), Violation> {
        let Transition { domain, removed, added } = transition;
        let before = match removed {
            Some(_) => self.0.remove(domain),
            None => self.0.get(domain).cloned(),
        };
        if *removed != before || (removed.is_none() && added.is_none()) {
            let text = format!("notified of {}; before: {}", describe(transition), text(&before));
            return Err(violation("I7 hooks", text));
        }
        if let Some(added) = added {
            self.0.insert(domain.clone(), added.clone());
        }
        Ok(())
    }

    /// They are not notified of an addition.
    pub fn leave_out(&mut self, transition: &Transition) -> Result<(), Violation> {
        if !is_quiet_addition(transition) {
            let text = format!("not notified of {}", describe(transition));
            return Err(violation("I7 hooks", text));
        }
        self.notify(transition)
    }

    /// Is that what the table has?
    pub fn is(&self, pairs: &[Pair]) -> bool {
        let has = |(domain, host_type): &Pair| self.0.get(domain) == Some(host_type);
        self.0.len() == pairs.len() && pairs.iter().all(has)
    }

    /// The domains that they know of.
    pub fn pairs(&self) -> Vec<Pair> {
        self.0.iter().map(|(domain, host_type)| (domain.clone(), host_type.clone())).collect()
    }
}

fn text(name: &Option<Name>) -> String {
    name.as_ref().map_or("-".into(), ToString::to_string)
}

fn describe(transition: &Transition) -> String {
    let Transition { domain, removed, added } = transition;
    format!("{domain}: {} -> {}", text(removed), text(added))
}

/// Nobody has to be notified that such a domain begins to route, where names below domains are computed.
/// The others stand for those that collide.
pub fn is_quiet(domain: &Name) -> bool {
    domain.bytes().last().is_some_and(|last| last % 2 == 0)
}

/// Is this only an addition, and of such a domain?
pub fn is_quiet_addition(transition: &Transition) -> bool {
    transition.removed.is_none() && is_quiet(&transition.domain)
}
