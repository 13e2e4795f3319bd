//! Functions registered beside rustler's own, without its wrapper.
//!
//! The wrapper puts the arguments of each call into a vector, and a tuple into another one. That is a
//! sixth of the time of a lookup, which is all that the hot functions do.

use rustler::codegen_runtime::{ErlNifEnv, ErlNifTerm, c_uint};
use rustler::sys::{enif_make_badarg, enif_make_tuple_from_array, enif_raise_exception};
use rustler::types::atom::nif_panicked;
use rustler::{Env, Term};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Registers `fn name(env, [argument, …]) -> Option<Term>` as a function of as many arguments, for
/// normal schedulers. `None` raises `badarg`, a panic `nif_panicked`, as with rustler.
macro_rules! raw_nif {
    ($name:literal / $arity:literal, $function:path) => {
        rustler::codegen_runtime::inventory::submit!(rustler::Nif {
            name: concat!($name, "\0").as_ptr().cast(),
            arity: $arity,
            flags: 0,
            raw_func: {
                unsafe extern "C" fn raw_func(
                    env: *mut rustler::codegen_runtime::ErlNifEnv,
                    _argc: rustler::codegen_runtime::c_int,
                    argv: *const rustler::codegen_runtime::ErlNifTerm,
                ) -> rustler::codegen_runtime::ErlNifTerm {
                    // SAFETY: the VM calls it so: the environment of this call, and as many terms of
                    // it as the arity says.
                    unsafe { crate::raw::call::<$arity>(env, argv, $function) }
                }
                raw_func
            },
        });
    };
}
pub(crate) use raw_nif;

/// # Safety
///
/// `env` is the environment of the call of a NIF, and `argv` its `N` arguments.
pub unsafe fn call<const N: usize>(
    env: *mut ErlNifEnv,
    argv: *const ErlNifTerm,
    function: for<'a> fn(Env<'a>, [Term<'a>; N]) -> Option<Term<'a>>,
) -> ErlNifTerm {
    let lifetime = ();
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller promises; and nothing outlives this call.
        let of_call = unsafe { Env::new(&lifetime, env) };
        // SAFETY: likewise.
        let args = std::array::from_fn(|n| unsafe { Term::new(of_call, *argv.add(n)) });
        function(of_call, args).map(|term| term.as_c_arg())
    }));
    match result {
        Ok(Some(term)) => term,
        // SAFETY: `env` is the environment of this call.
        Ok(None) => unsafe { enif_make_badarg(env) },
        // SAFETY: likewise.
        Err(_) => unsafe { enif_raise_exception(env, nif_panicked().as_c_arg()) },
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
