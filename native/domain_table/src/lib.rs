//! The routing table of one node: which host type is this domain?
//!
//! It knows domains, host types, and *sources* (who inserted a dynamic domain; any type that can be
//! compared). It knows nothing of Erlang, of databases or of where the domains come from, and it
//! does no I/O.
//!
//! - `map`: from a domain to its `entry`, for look-ups, which take no lock.
//! - `index`: the domains by host type, for lists, in vectors whose clones share (`snapshot`).
//! - `sources`: who inserted what; `stored`: a name as both keep it.
//! - `name`: what a name may be; `prepared`: what form routing asks for.
//! - `table`: all of it, to read; `writer`: to change it.
//! - `subdomains`: names below domains, computed from patterns and the table.
//!
//! [`Table::host_type`] is the hot path of the whole product: it is called for every routed stanza.

mod entry;
mod index;
mod map;
mod name;
mod prepared;
mod snapshot;
mod sources;
mod stored;
mod subdomains;
mod table;
mod writer;

pub use name::{MAX_NAME_CHARS, Name, NameError, Pair, check_name, check_text};
pub use prepared::{PrepareError, is_prepared, prepared};
pub use subdomains::{Made, Pattern, RegisterError, Subdomain, Subdomains};
pub use table::Table;
pub use writer::{DeleteError, InsertError, Inserted, Put, Writer};
