//! What the operating system holds the program to.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// The program dies when the process that started it does, also while it is stopped.
#[cfg(target_os = "linux")]
pub fn die_with_parent() -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died just before.
    if getppid() == parent { Ok(()) } else { Err(io::Error::other("the node is gone")) }
}

/// Elsewhere the end of the standard input must do.
#[cfg(not(target_os = "linux"))]
pub fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Whoever ends all processes of a service at once ends the node, which tells the program to stop: then
/// the requests in progress are answered.
pub fn ignore_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: to ignore a signal needs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// No image of the memory is written when the program crashes: passwords are in it.
pub fn write_no_core() -> io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// The most memory that the program may have, in MiB. When more is needed it ends, and the node does
/// not.
pub fn limit_memory(mebibytes: u64) -> io::Result<()> {
    let most = Some(mebibytes.saturating_mul(1024 * 1024));
    Ok(setrlimit(Resource::Data, Rlimit { current: most, maximum: most })?)
}
