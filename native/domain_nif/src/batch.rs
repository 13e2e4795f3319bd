//! Batches of changes, as terms, on their way to the process that writes the table.

use crate::table::routing;
use crate::term::KeptTerm;
use crate::{busy, done, error, more, stale};
use domain_sync::routing::Batch;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

/// The most changes that are applied at a time on a normal scheduler: 0.1 - 0.2 ms.
const FEW: usize = 200;

/// A batch as a term.
pub struct BatchResource(pub Batch<KeptTerm>);

#[rustler::resource_impl]
impl Resource for BatchResource {}

/// Applies up to `limit` changes of a batch, and returns `more` or `done`; or `{error, stale}` if the
/// table that the batch was made for is gone. Only for the process that writes the table, which then
/// tells others what is untold.
#[rustler::nif(schedule = "DirtyCpu")]
fn apply_batch<'a>(env: Env<'a>, next: ResourceArc<BatchResource>, limit: usize) -> Term<'a> {
    apply_by(env, &next.0, |batch| Some(batch.apply(limit)))
}

/// As `apply_batch`, for few changes at a time, on a normal scheduler; or `busy`, when that would wait
/// or take long.
#[rustler::nif]
fn try_apply_batch<'a>(env: Env<'a>, next: ResourceArc<BatchResource>, limit: usize) -> Term<'a> {
    apply_by(env, &next.0, |batch| batch.try_apply(limit.min(FEW)))
}

fn apply_by<'a>(
    env: Env<'a>,
    batch: &Batch<KeptTerm>,
    apply: impl FnOnce(&Batch<KeptTerm>) -> Option<bool>,
) -> Term<'a> {
    if !routing().is_some_and(|routing| batch.is_for(&routing)) {
        return (error(), stale()).encode(env);
    }
    let answer = match apply(batch) {
        Some(true) => more(),
        Some(false) => done(),
        None => busy(),
    };
    answer.encode(env)
}
