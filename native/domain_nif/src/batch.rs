//! Batches of changes, as terms, on their way to the process that writes the table.

use crate::raw::{Answer, raw_nif};
use crate::table::routing;
use crate::term::KeptTerm;
use crate::{done, error, more, stale};
use domain_sync::batch::Batch;
use rustler::schedule::consume_timeslice;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

/// The most changes that are applied at a time on a normal scheduler: 0.1 - 0.2 ms.
const FEW: usize = 200;

/// The part of a time slice that they take.
const FEW_PERCENT: i32 = 15;

/// A batch as a term.
pub struct BatchResource(pub Batch<KeptTerm>);

#[rustler::resource_impl]
impl Resource for BatchResource {}

raw_nif!("apply_batch" / 2, apply_batch, waits);

/// Applies up to `limit` changes of a batch, and returns `more` or `done`; or `{error, stale}` if the
/// table that the batch was made for is gone. Only for the process that writes the table. A few
/// changes are made on a normal scheduler, unless that would wait or take long.
fn apply_batch<'a>(env: Env<'a>, [next, limit]: [Term<'a>; 2], may_wait: bool) -> Answer<'a> {
    let (Ok(next), Ok(limit)) =
        (next.decode::<ResourceArc<BatchResource>>(), limit.decode::<usize>())
    else {
        return Answer::BadArg;
    };
    let batch = &next.0;
    if !routing().is_some_and(|routing| batch.is_for(&routing)) {
        return Answer::Term((error(), stale()).encode(env));
    }
    let is_more = if may_wait {
        Some(batch.apply(limit))
    } else if limit <= FEW {
        let _ends = consume_timeslice(env, FEW_PERCENT);
        batch.try_apply(limit)
    } else {
        None
    };
    match is_more {
        Some(is_more) => Answer::Term(if is_more { more() } else { done() }.encode(env)),
        None => Answer::WouldWait,
    }
}
