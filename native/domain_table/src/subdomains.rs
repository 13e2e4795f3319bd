//! Names below domains, such as `muc.example.com`: computed, not stored.
//!
//! Somebody registers a *pattern* for a host type: a prefix, which makes a name below each of its
//! domains, or one whole name (`fqdn`). A name is found by the patterns and the [`Table`], in a time
//! that is bounded by the number of different prefixes, however many domains there are.
//!
//! Several can make the same name. Who was first is not known, as nothing is stored for a domain. So
//! a rule says who has the right to it, the same on every node: a whole name, unless the name was
//! there when it was registered; and of two prefixes the longer one.

use crate::name::{MAX_NAME_CHARS, Name};
use crate::table::Table;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most bytes of a name that is looked for: a prefix and a domain.
const MAX_BYTES: usize = 2 * 4 * MAX_NAME_CHARS;

/// What makes names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// In front of each domain of the host type.
    Prefix(Name),
    /// This one.
    Fqdn(Name),
}

/// Why a pattern is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// It is there for this host type.
    #[error("already registered")]
    AlreadyRegistered,
    /// The whole name is there. The pattern counts as registered, but makes no name.
    #[error("subdomain already exists")]
    SubdomainExists,
}

/// The patterns of a node, each with a handler `H`.
#[derive(Debug, Clone)]
pub struct Subdomains<H> {
    /// The longest first.
    prefixes: Vec<Prefix<H>>,
    fqdns: HashMap<Name, Vec<Fqdn<H>>, RandomState>,
    /// Does one prefix begin with another? Only then can two of them make the same name.
    are_nested: bool,
}

#[derive(Debug, Clone)]
struct Prefix<H> {
    text: Name,
    /// By host type.
    handlers: HashMap<Name, H, RandomState>,
    /// Has a domain or a whole name been seen that begins so? Only then can a name that it makes be one
    /// of them.
    begins_other: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct Fqdn<H> {
    host_type: Name,
    handler: H,
    /// Does it make the name? At most one of those for each name does.
    holds: bool,
}

/// A name below a domain, or a whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subdomain<'a, H> {
    /// The name itself.
    pub name: Name,
    /// Of the pattern, and of the domain.
    pub host_type: &'a Name,
    /// What makes it.
    pub pattern: Pattern,
    /// The domain that it is below, if it is.
    pub parent: Option<Name>,
    /// Who serves it.
    pub handler: &'a H,
}

/// A name that a pattern makes, or would make if nobody else had a right to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made<'a, H> {
    /// As this pattern makes it.
    pub subdomain: Subdomain<'a, H>,
    /// Does somebody else make it, too?
    pub is_contested: bool,
    /// Is it the name of a domain, too?
    pub is_domain: bool,
}

impl<H> Default for Subdomains<H> {
    fn default() -> Self {
        Subdomains { prefixes: Vec::new(), fqdns: HashMap::default(), are_nested: false }
    }
}

impl<H: Clone> Subdomains<H> {
    /// The host type of a name: all that routing asks.
    pub fn host_type<'a, S: Clone + Eq + Hash>(
        &'a self,
        table: Option<&'a Table<S>>,
        name: &[u8],
    ) -> Option<&'a Name> {
        match self.fqdn(name) {
            Some(fqdn) => Some(&fqdn.host_type),
            None => self.below(table?, name).next().map(|(_, _, host_type, _)| host_type),
        }
    }

    /// All about a name.
    pub fn find<'a, S: Clone + Eq + Hash>(
        &'a self,
        table: Option<&'a Table<S>>,
        name: &[u8],
    ) -> Option<Subdomain<'a, H>> {
        self.makers(table, name).next()
    }

    /// The names below a domain.
    pub fn of_domain<'a, S: Clone + Eq + Hash>(
        &'a self,
        table: &'a Table<S>,
        domain: &[u8],
    ) -> Vec<Subdomain<'a, H>> {
        let Some(host_type) = table.host_type(domain) else { return Vec::new() };
        let made = self.made_for(host_type.as_bytes(), domain);
        made.filter(|it| {
            self.find(Some(table), it.name.as_bytes())
                .as_ref()
                .is_some_and(|found| is_same(found, it))
        })
        .collect()
    }

    /// The whole names.
    pub fn fqdns(&self) -> Vec<Subdomain<'_, H>> {
        let held = self.fqdns.iter().filter_map(|(name, fqdns)| {
            fqdns.iter().find(|fqdn| fqdn.holds).map(|fqdn| whole(name.clone(), fqdn))
        });
        held.collect()
    }

    /// What the prefixes of a host type make for a domain, whether it routes or not.
    pub fn made<'a, S: Clone + Eq + Hash>(
        &'a self,
        table: Option<&'a Table<S>>,
        host_type: &[u8],
        domain: &[u8],
    ) -> Vec<Made<'a, H>> {
        let made = self.made_for(host_type, domain).map(|subdomain| {
            let name = subdomain.name.as_bytes();
            let is_contested = self.makers(table, name).any(|it| !is_same(&it, &subdomain));
            let is_domain = table.is_some_and(|table| table.host_type(name).is_some());
            Made { subdomain, is_contested, is_domain }
        });
        made.collect()
    }

    /// Is there anything to say when this domain begins to route: is it a subdomain, too, or is a name
    /// that is made for it contested, or a domain? Mostly there is not, which is known without looking
    /// for each name.
    pub fn collides<S: Clone + Eq + Hash>(
        &self,
        table: &Table<S>,
        host_type: &[u8],
        domain: &[u8],
    ) -> bool {
        self.note_beginning(domain);
        self.host_type(Some(table), domain).is_some()
            || self.may_collide(host_type)
                && self
                    .made(Some(table), host_type, domain)
                    .iter()
                    .any(|made| made.is_contested || made.is_domain)
    }

    /// The domains of a host type for which there is something to say when this prefix is registered.
    /// It looks at all domains, unless the prefix is there for another host type, too: then it has
    /// been done.
    pub fn colliding<S: Clone + Eq + Hash>(
        &self,
        table: &Table<S>,
        host_type: &[u8],
        prefix: &[u8],
    ) -> Vec<Name> {
        let Some(prefix) = self.prefixes.iter().find(|it| it.text.as_bytes() == prefix) else {
            return Vec::new();
        };
        let has = |domain: &[u8]| table.has_host_type(domain, host_type);
        let mut domains = Vec::new();
        let mut add_rest = |name: &str| {
            if let Some(rest) = name.strip_prefix(&*prefix.text)
                && has(rest.as_bytes())
            {
                domains.push(Name::from(rest));
            }
        };
        self.fqdns.keys().for_each(|name| add_rest(name));
        if prefix.handlers.len() == 1 || prefix.begins_other.load(Ordering::Relaxed) {
            table.for_each(|domain, _| {
                self.note_beginning(domain.as_bytes());
                add_rest(domain);
            });
        }
        if self.are_nested {
            let nested = |domain: &&Name| self.collides(table, host_type, domain.as_bytes());
            domains.extend(table.domains_of(host_type).iter().filter(nested).cloned());
        }
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// There is another table, of which nothing is known yet.
    pub fn look_through<S: Clone + Eq + Hash>(&self, table: &Table<S>) {
        if !self.prefixes.is_empty() {
            table.for_each(|domain, _| self.note_beginning(domain.as_bytes()));
        }
    }

    /// Registers a pattern for a host type.
    pub fn register<S: Clone + Eq + Hash>(
        &mut self,
        table: Option<&Table<S>>,
        host_type: Name,
        pattern: Pattern,
        handler: H,
    ) -> Result<(), RegisterError> {
        match pattern {
            Pattern::Prefix(text) => self.register_prefix(host_type, text, handler),
            Pattern::Fqdn(name) => {
                let is_there = self.host_type(table, name.as_bytes()).is_some();
                self.note_beginning(name.as_bytes());
                let fqdns = self.fqdns.entry(name).or_default();
                if fqdns.iter().any(|fqdn| fqdn.host_type == host_type) {
                    return Err(RegisterError::AlreadyRegistered);
                }
                fqdns.push(Fqdn { host_type, handler, holds: !is_there });
                if is_there { Err(RegisterError::SubdomainExists) } else { Ok(()) }
            }
        }
    }

    fn register_prefix(
        &mut self,
        host_type: Name,
        text: Name,
        handler: H,
    ) -> Result<(), RegisterError> {
        let place = self.prefixes.iter().position(|prefix| prefix.text == text);
        let place = place.unwrap_or_else(|| {
            let place = self.prefixes.partition_point(|prefix| prefix.text.len() > text.len());
            let (handlers, begins_other) = Default::default();
            self.prefixes.insert(place, Prefix { text, handlers, begins_other });
            self.look_for_nested();
            self.fqdns.keys().for_each(|name| self.note_beginning(name.as_bytes()));
            place
        });
        let handlers = &mut self.prefixes[place].handlers;
        if handlers.contains_key(&host_type) {
            return Err(RegisterError::AlreadyRegistered);
        }
        handlers.insert(host_type, handler);
        Ok(())
    }

    /// Takes a pattern back. Returns its handler, if it was there and made names.
    pub fn unregister(&mut self, host_type: &[u8], pattern: &Pattern) -> Option<H> {
        let host_type = std::str::from_utf8(host_type).ok()?;
        match pattern {
            Pattern::Prefix(text) => {
                let place = self.prefixes.iter().position(|it| it.text == *text)?;
                let handler = self.prefixes[place].handlers.remove(host_type);
                if self.prefixes[place].handlers.is_empty() {
                    self.prefixes.remove(place);
                    self.look_for_nested();
                }
                handler
            }
            Pattern::Fqdn(name) => {
                let fqdns = self.fqdns.get_mut(name)?;
                let place = fqdns.iter().position(|fqdn| fqdn.host_type == *host_type)?;
                let fqdn = fqdns.remove(place);
                if fqdns.is_empty() {
                    self.fqdns.remove(name);
                }
                fqdn.holds.then_some(fqdn.handler)
            }
        }
    }

    /// Sees a domain or a whole name, which may begin as a prefix does.
    fn note_beginning(&self, name: &[u8]) {
        for prefix in &self.prefixes {
            if name.starts_with(prefix.text.as_bytes()) {
                prefix.begins_other.store(true, Ordering::Relaxed);
            }
        }
    }

    fn look_for_nested(&mut self) {
        let texts = || self.prefixes.iter().map(|prefix| &prefix.text);
        let begins_another = |text: &Name| texts().any(|it| it != text && it.starts_with(&**text));
        self.are_nested = texts().any(begins_another);
    }

    fn may_collide(&self, host_type: &[u8]) -> bool {
        let Ok(host_type) = std::str::from_utf8(host_type) else { return false };
        let mut of_host_type =
            self.prefixes.iter().filter(|it| it.handlers.contains_key(host_type));
        of_host_type.any(|it| self.are_nested || it.begins_other.load(Ordering::Relaxed))
    }

    /// All that make a name, who has the right to it first.
    fn makers<'a, S: Clone + Eq + Hash>(
        &'a self,
        table: Option<&'a Table<S>>,
        name: &[u8],
    ) -> impl Iterator<Item = Subdomain<'a, H>> {
        let text = Name::from_utf8(name).unwrap_or_default();
        let fqdn = self.fqdn(name).map(|fqdn| whole(text.clone(), fqdn));
        let below = table.into_iter().flat_map(move |table| self.below(table, name));
        let below = below.map(move |(prefix, domain, host_type, handler)| Subdomain {
            name: text.clone(),
            host_type,
            pattern: Pattern::Prefix(prefix.text.clone()),
            parent: Name::from_utf8(domain).ok(),
            handler,
        });
        fqdn.into_iter().chain(below)
    }

    /// The whole name, if it is there.
    fn fqdn(&self, name: &[u8]) -> Option<&Fqdn<H>> {
        if self.fqdns.is_empty() || name.len() > MAX_BYTES {
            return None;
        }
        let name = std::str::from_utf8(name).ok()?;
        self.fqdns.get(name)?.iter().find(|fqdn| fqdn.holds)
    }

    /// The prefixes that make a name, each with the domain, its host type, and the handler.
    fn below<'a, 'n, S: Clone + Eq + Hash>(
        &'a self,
        table: &'a Table<S>,
        name: &'n [u8],
    ) -> impl Iterator<Item = (&'a Prefix<H>, &'n [u8], &'a Name, &'a H)> + use<'a, 'n, S, H> {
        let prefixes = if name.len() > MAX_BYTES { &[][..] } else { &self.prefixes };
        prefixes.iter().filter_map(move |prefix| {
            let domain = name.strip_prefix(prefix.text.as_bytes())?;
            let host_type = table.host_type(domain)?;
            let handler = prefix.handlers.get(host_type)?;
            Some((prefix, domain, host_type, handler))
        })
    }

    fn made_for(&self, host_type: &[u8], domain: &[u8]) -> impl Iterator<Item = Subdomain<'_, H>> {
        let name = std::str::from_utf8(host_type).ok();
        let domain = Name::from_utf8(domain).ok();
        let given = name.zip(domain);
        self.prefixes.iter().filter_map(move |prefix| {
            let (host_type, domain) = given.as_ref()?;
            let (host_type, handler) = prefix.handlers.get_key_value(*host_type)?;
            Some(Subdomain {
                name: Name::from(format!("{}{domain}", prefix.text)),
                host_type,
                pattern: Pattern::Prefix(prefix.text.clone()),
                parent: Some(domain.clone()),
                handler,
            })
        })
    }
}

fn whole<H>(name: Name, fqdn: &Fqdn<H>) -> Subdomain<'_, H> {
    let Fqdn { host_type, handler, .. } = fqdn;
    Subdomain { pattern: Pattern::Fqdn(name.clone()), name, host_type, parent: None, handler }
}

/// Are they made by the same pattern of the same domain?
fn is_same<H>(one: &Subdomain<'_, H>, other: &Subdomain<'_, H>) -> bool {
    one.pattern == other.pattern && one.parent == other.parent
}
