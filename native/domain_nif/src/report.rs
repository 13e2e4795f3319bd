//! What the follower logs: messages `{log, Level, Report}` to its process, where a report is a map with
//! a key `what`.

use crate::runtime::Address;
use crate::table::routing;
use crate::term::{binary, optional};
use crate::{core_host_type, count, db_host_type, domains, domains_differ_from_database};
use crate::{domain_audit_failed, domain_check_failed, domain_settings_without_index};
use crate::{domains_loaded, domains_must_be_reloaded, error, log, milliseconds, notice, reason};
use crate::{retry_after_milliseconds, statement, text, warning, what};
use domain_sync::check::Reason;
use domain_sync::follower::{Event, Failure};
use domain_sync::ignored::Kind;
use domain_sync::service::Report;
use domain_table::Name;
use rustler::{Atom, Encoder, Env, Term};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How many domains a report names.
const NAMED: usize = 10;

/// Is it known that an index is missing? It is said once.
static IS_INDEX_KNOWN: AtomicBool = AtomicBool::new(false);

/// Sends the messages of a report.
pub fn report(to: &Address, report: Report) {
    match report {
        Report::Event(happened, since) => {
            to.send(|env| event(env, &happened, since));
        }
        Report::Ignored(ignored) => {
            for (kind, (number, first)) in ignored.take() {
                let first = first.iter().map(|it| Row {
                    domain: &it.domain,
                    in_table: it.core_host_type.as_ref(),
                    in_database: Some(&it.db_host_type),
                });
                let first: Vec<_> = first.collect();
                to.send(|env| message(env, warning(), kind_name(kind), rows(env, number, &first)));
            }
        }
        Report::MissingIndex(sql) => {
            if IS_INDEX_KNOWN.swap(true, Ordering::Relaxed) {
                return;
            }
            let why = "an index is missing, so the database reads the whole table to find a domain: \
                       run the statement, which adds the index";
            to.send(|env| {
                let pairs = vec![
                    (statement(), binary(env, sql.as_bytes())),
                    (text(), binary(env, why.as_bytes())),
                ];
                message(env, warning(), domain_settings_without_index(), pairs)
            });
        }
    }
}

fn event<'a>(env: Env<'a>, event: &Event, since: Duration) -> Term<'a> {
    let whole = |time: Duration| (time.as_millis() as u64).encode(env);
    match event {
        Event::Loaded => {
            let number = routing().map_or(0, |routing| routing.table().len());
            let pairs = vec![(domains(), number.encode(env)), (milliseconds(), whole(since))];
            message(env, notice(), domains_loaded(), pairs)
        }
        Event::CheckFailed(failure, pause) => {
            let mut pairs = failure_pairs(env, failure);
            pairs.push((retry_after_milliseconds(), whole(*pause)));
            message(env, error(), domain_check_failed(), pairs)
        }
        Event::AuditFailed(failure) => {
            message(env, warning(), domain_audit_failed(), failure_pairs(env, failure))
        }
        Event::MustReload(why) => {
            let why = match why {
                Reason::TooOld => crate::too_old(),
                Reason::WentBackwards => crate::went_backwards(),
            };
            let pairs = vec![(reason(), why.encode(env))];
            message(env, warning(), domains_must_be_reloaded(), pairs)
        }
        Event::Differs(found) => {
            let number = found.len() as u64;
            let first = found.iter().take(NAMED).map(|it| Row {
                domain: &it.domain,
                in_table: it.in_table.as_ref(),
                in_database: it.in_database.as_deref(),
            });
            let pairs = rows(env, number, &first.collect::<Vec<_>>());
            message(env, error(), domains_differ_from_database(), pairs)
        }
    }
}

/// A domain, and what it is in the table and in the database.
struct Row<'r> {
    domain: &'r str,
    in_table: Option<&'r Name>,
    in_database: Option<&'r str>,
}

/// How many domains, and the first ones.
fn rows<'a>(env: Env<'a>, number: u64, first: &[Row<'_>]) -> Vec<(Atom, Term<'a>)> {
    let column = |cell: &dyn Fn(&Row<'_>) -> Term<'a>| {
        first.iter().map(cell).collect::<Vec<_>>().encode(env)
    };
    vec![
        (count(), number.encode(env)),
        (domains(), column(&|row| binary(env, row.domain.as_bytes()))),
        (core_host_type(), column(&|row| optional(env, row.in_table.map(Name::as_bytes)))),
        (db_host_type(), column(&|row| optional(env, row.in_database.map(str::as_bytes)))),
    ]
}

fn failure_pairs<'a>(env: Env<'a>, failure: &Failure) -> Vec<(Atom, Term<'a>)> {
    let name = Atom::from_str(env, &failure.reason).unwrap_or_else(|_| error());
    vec![(reason(), name.encode(env)), (text(), binary(env, failure.text.as_bytes()))]
}

fn message<'a>(
    env: Env<'a>,
    level: Atom,
    name: Atom,
    mut pairs: Vec<(Atom, Term<'a>)>,
) -> Term<'a> {
    pairs.push((what(), name.encode(env)));
    let map = pairs
        .into_iter()
        .fold(Term::map_new(env), |map, (key, value)| map.map_put(key, value).unwrap_or(map));
    (log(), level, map).encode(env)
}

fn kind_name(kind: Kind) -> Atom {
    match kind {
        Kind::StaticInDb => crate::domain_static_but_in_db(),
        Kind::StaticWasInDb => crate::domain_static_but_was_in_db(),
        Kind::DifferentHostType => crate::ignore_domain_from_db_with_different_host_type(),
        Kind::UnknownHostType => crate::ignore_domain_from_db_with_unknown_host_type(),
        Kind::InvalidName => crate::ignore_domain_from_db_with_invalid_name(),
    }
}
