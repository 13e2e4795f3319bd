//! Tokio's threads. They start with the first database that is opened and stop after the last one is
//! closed; never with the module, which may be loaded for good.

use once_cell::sync::Lazy;
use parking_lot::Mutex;
use rustler::{LocalPid, OwnedEnv, Term, thread::is_scheduler_thread};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

use crate::term::{KeptTerm, failure};
use crate::{mongoose_domain_nif, stopped};

/// How long stopping may take.
const STOP: Duration = Duration::from_secs(5);

static SHARED: Lazy<Mutex<Weak<Threads>>> = Lazy::new(Mutex::default);

/// A share of the runtime.
pub struct Threads(Option<Runtime>);

impl Threads {
    /// The runtime, started if it is not there.
    pub fn share() -> std::io::Result<Arc<Threads>> {
        let mut shared = SHARED.lock();
        if let Some(threads) = shared.upgrade() {
            return Ok(threads);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(2)
            .thread_name("domain-sync")
            .enable_all()
            .build()?;
        let threads = Arc::new(Threads(Some(runtime)));
        *shared = Arc::downgrade(&threads);
        Ok(threads)
    }

    /// The runtime itself; it is there until the last share is dropped.
    pub fn runtime(&self) -> Option<&Runtime> {
        self.0.as_ref()
    }
}

impl Drop for Threads {
    /// Stops the threads within a bounded time. Not on the thread that drops the last share: that may
    /// be a scheduler of the VM, or one of the runtime's own.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            on_own_thread(move || runtime.shutdown_timeout(STOP));
        }
    }
}

/// Runs `job` on a thread of its own.
pub fn on_own_thread(job: impl FnOnce() + Send + 'static) {
    // Without a thread to be had the job is dropped, and with it a runtime: its threads then end on
    // their own when they are idle.
    let _ = std::thread::Builder::new().name("domain-stop".into()).spawn(job);
}

/// The final reply to a request: `{mongoose_domain_nif, Ref, Reply}`, sent exactly once. If the task
/// that holds it ends without sending one (a panic, the end of the runtime), dropping it does.
pub struct Reply(Option<Address>);

/// Where messages about a request go.
#[derive(Clone)]
pub struct Address {
    pub pid: LocalPid,
    pub reference: KeptTerm,
}

impl Address {
    /// Sends `{mongoose_domain_nif, Ref, Message}` and says whether the process was there.
    pub fn send(&self, message: impl for<'a> FnOnce(rustler::Env<'a>) -> Term<'a>) -> bool {
        if is_scheduler_thread() {
            return false;
        }
        let sent = OwnedEnv::new().send_and_clear(&self.pid, |env| {
            (mongoose_domain_nif(), self.reference.copy(env), message(env))
        });
        sent.is_ok()
    }
}

impl Reply {
    pub fn to(address: Address) -> Self {
        Reply(Some(address))
    }

    /// Sends the reply.
    pub fn send(mut self, reply: impl for<'a> FnOnce(rustler::Env<'a>) -> Term<'a>) {
        if let Some(address) = self.0.take() {
            address.send(reply);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(address) = self.0.take() {
            address.send(|env| failure(env, stopped(), "the request was cancelled"));
        }
    }
}
