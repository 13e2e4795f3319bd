//! What the follower did and saw: for `service_domain_db:status/0`.

use crate::table::routing;
use crate::term::binary;
use crate::{audits, checks, ok, position, reloads, seconds_since_check, undefined};
use crate::{
    dummies_written, errors, failing, followed, gaps_settled, last_error, loads, newest_event,
};
use rustler::{Atom, Binary, Encoder, Env, Error, NifResult, Term};

/// A map of what was counted and seen since the table was made.
#[rustler::nif]
fn statistics(env: Env<'_>) -> NifResult<Term<'_>> {
    let routing = routing().ok_or(Error::BadArg)?;
    let counts = routing.statistics();
    let id = |id: Option<i64>| id.map_or_else(|| undefined().encode(env), |id| id.encode(env));
    let position_term = match routing.position() {
        None => undefined().encode(env),
        // A log that was empty.
        Some(position) => position.newest().unwrap_or(0).encode(env),
    };
    let seconds = match counts.checked {
        None => undefined().encode(env),
        Some(at) => at.elapsed().as_secs_f64().encode(env),
    };
    let by_reason = |reason: &str, count: u64| (Atom::from_str(env, reason), count);
    let reload_counts: Vec<_> = counts.reloads.iter().map(|(r, n)| by_reason(r, *n)).collect();
    let error_counts: Vec<_> = counts.errors.iter().map(|(r, n)| by_reason(r, *n)).collect();
    let last = match &counts.last_error {
        None => undefined().encode(env),
        Some((reason, text)) => {
            (Atom::from_str(env, reason)?, binary(env, text.as_bytes())).encode(env)
        }
    };
    Term::map_from_pairs(
        env,
        &[
            (position(), position_term),
            (newest_event(), id(counts.newest_event)),
            (seconds_since_check(), seconds),
            (checks(), counts.checks.encode(env)),
            (loads(), counts.loads.encode(env)),
            (reloads(), map(env, reload_counts)?),
            (gaps_settled(), counts.gaps_settled.encode(env)),
            (dummies_written(), counts.dummies_written.encode(env)),
            (audits(), counts.audits.encode(env)),
            (errors(), map(env, error_counts)?),
            (last_error(), last),
            (failing(), counts.failing.encode(env)),
            (followed(), routing.table().followed_len().encode(env)),
        ],
    )
}

fn map(env: Env<'_>, counts: Vec<(NifResult<Atom>, u64)>) -> NifResult<Term<'_>> {
    let pairs = counts.into_iter().map(|(reason, count)| Ok((reason?, count)));
    Term::map_from_pairs(env, &pairs.collect::<NifResult<Vec<_>>>()?)
}

/// Counts a failure of the database that was no check's.
#[rustler::nif]
fn count_error(env: Env<'_>, reason: Atom, text: Binary<'_>) -> NifResult<Atom> {
    let reason = reason.to_term(env).atom_to_string()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    if let Some(routing) = routing() {
        routing.count(|counts| counts.count_error(reason, text));
    }
    Ok(ok())
}
