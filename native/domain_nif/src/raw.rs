//! Functions registered beside rustler's own, without its wrapper.
//!
//! The wrapper puts the arguments of each call into a vector, and a tuple into another one. That is a
//! sixth of the time of a lookup, which is all that the hot functions do. And it has no way to go on on
//! a dirty scheduler.

use rustler::codegen_runtime::{ErlNifEnv, ErlNifTerm, c_char, c_int, c_uint};
use rustler::schedule::SchedulerFlags;
use rustler::sys::{
    enif_make_badarg, enif_make_tuple_from_array, enif_raise_exception, enif_schedule_nif,
};
use rustler::types::atom::nif_panicked;
use rustler::{Env, Term};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a function ends.
pub enum Answer<'a> {
    Term(Term<'a>),
    /// Raises `badarg`, as with rustler.
    BadArg,
    /// It would wait for somebody, or take long: it is called again on a dirty scheduler.
    WouldWait,
}

impl<'a> From<Option<Term<'a>>> for Answer<'a> {
    fn from(term: Option<Term<'a>>) -> Self {
        term.map_or(Answer::BadArg, Answer::Term)
    }
}

/// `raw_nif!("name" / 2, function)` registers `fn function(env, [argument, …]) -> Option<Term>` as a
/// function of so many arguments, for normal schedulers. `None` raises `badarg`, a panic
/// `nif_panicked`, as with rustler.
///
/// `raw_nif!("name" / 2, function, waits)` registers `fn function(env, [argument, …], may_wait) ->
/// Answer`. It is called on a normal scheduler, where it must not wait, and if it would, again on a
/// dirty one, where it may.
macro_rules! raw_nif {
    ($name:literal / $arity:literal, $function:path) => {
        crate::raw::raw_nif!(@register $name / $arity, {
            |env, args, _may_wait| crate::raw::Answer::from($function(env, args))
        });
    };
    ($name:literal / $arity:literal, $function:path, waits) => {
        crate::raw::raw_nif!(@register $name / $arity, { $function });
    };
    (@register $name:literal / $arity:literal, $function:block) => {
        rustler::codegen_runtime::inventory::submit!(rustler::Nif {
            name: concat!($name, "\0").as_ptr().cast(),
            arity: $arity,
            flags: 0,
            raw_func: {
                unsafe extern "C" fn on_normal(
                    env: *mut rustler::codegen_runtime::ErlNifEnv,
                    _argc: rustler::codegen_runtime::c_int,
                    argv: *const rustler::codegen_runtime::ErlNifTerm,
                ) -> rustler::codegen_runtime::ErlNifTerm {
                    let name = concat!($name, "\0").as_ptr().cast();
                    // SAFETY: the VM calls it so: the environment of this call, and as many terms of
                    // it as the arity says.
                    unsafe { crate::raw::call::<$arity>(env, argv, $function, Some((name, on_dirty))) }
                }
                unsafe extern "C" fn on_dirty(
                    env: *mut rustler::codegen_runtime::ErlNifEnv,
                    _argc: rustler::codegen_runtime::c_int,
                    argv: *const rustler::codegen_runtime::ErlNifTerm,
                ) -> rustler::codegen_runtime::ErlNifTerm {
                    // SAFETY: as above.
                    unsafe { crate::raw::call::<$arity>(env, argv, $function, None) }
                }
                on_normal
            },
        });
    };
}
pub(crate) use raw_nif;

type Function<const N: usize> = for<'a> fn(Env<'a>, [Term<'a>; N], bool) -> Answer<'a>;

/// The name of a function, and what is called on a dirty scheduler.
type OnDirty =
    (*const c_char, unsafe extern "C" fn(*mut ErlNifEnv, c_int, *const ErlNifTerm) -> ErlNifTerm);

/// Calls a function, which may wait unless it can go on on a dirty scheduler.
///
/// # Safety
///
/// `env` is the environment of the call of a NIF, and `argv` its `N` arguments. The name ends with a
/// NUL.
pub unsafe fn call<const N: usize>(
    env: *mut ErlNifEnv,
    argv: *const ErlNifTerm,
    function: Function<N>,
    on_dirty: Option<OnDirty>,
) -> ErlNifTerm {
    let lifetime = ();
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller promises; and nothing outlives this call.
        let of_call = unsafe { Env::new(&lifetime, env) };
        // SAFETY: likewise.
        let args = std::array::from_fn(|n| unsafe { Term::new(of_call, *argv.add(n)) });
        match function(of_call, args, on_dirty.is_none()) {
            Answer::Term(term) => Some(Some(term.as_c_arg())),
            Answer::BadArg => Some(None),
            Answer::WouldWait => None,
        }
    }));
    let flags = SchedulerFlags::DirtyCpu as c_int;
    match (result, on_dirty) {
        (Ok(Some(Some(term))), _) => term,
        (Ok(None), Some((name, function))) => {
            // SAFETY: as the caller promises; the VM copies name and arguments.
            unsafe { enif_schedule_nif(env, name, flags, function, N as c_int, argv) }
        }
        // SAFETY: `env` is the environment of this call.
        (Ok(_), _) => unsafe { enif_make_badarg(env) },
        // SAFETY: likewise.
        (Err(_), _) => unsafe { enif_raise_exception(env, nif_panicked().as_c_arg()) },
    }
}

/// A tuple.
pub fn tuple<'a, const N: usize>(env: Env<'a>, elements: [Term<'a>; N]) -> Term<'a> {
    let elements = elements.map(|element| element.as_c_arg());
    // SAFETY: the terms are of this environment, and there are `N`.
    unsafe {
        let tuple = enif_make_tuple_from_array(env.as_c_arg(), elements.as_ptr(), N as c_uint);
        Term::new(env, tuple)
    }
}
