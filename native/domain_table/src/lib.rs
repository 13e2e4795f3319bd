//! The routing table of one node: which host type is this domain?
//!
//! It knows domains, host types, and *sources* (who inserted a dynamic domain; any type that can be
//! compared). It knows nothing of Erlang, of databases or of where the domains come from, and it
//! does no I/O.
//!
//! [`Table::host_type`] is the hot path of the whole product: it is called for every routed stanza.
//! It takes the read lock of one shard of the map for as long as it takes to compare a name and copy
//! a number, and allocates nothing. Everything else, lists and changes, goes by the *books* behind
//! one lock (see [`Table`]).

mod books;
mod name;
mod shard;
mod table;

pub use name::{MAX_NAME_CHARS, Name, NameError, Pair, check_name, check_text};
pub use table::{DeleteError, InsertError, Inserted, Put, Table, Writer};
