//! TCP connections without Nagle's algorithm.
//!
//! With TLS the client has small messages to send before the server has anything to answer. By
//! Nagle's algorithm (RFC 896) the second one waits until the first is acknowledged, and that is
//! delayed by some 40 ms: two such waits are nearly all of the time that a connection to PostgreSQL
//! takes. `TCP_NODELAY` is made for that, but sqlx 0.9 neither sets it nor hands out its sockets.
//!
//! So the linker gives each call of `connect` in this library, and nowhere else in the VM, to the
//! function here (`--wrap`, see build.rs). On other systems than Linux the waits stay.

use libc::{c_int, c_void, sockaddr, socklen_t};

unsafe extern "C" {
    /// The C library's `connect`.
    fn __real_connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
}

/// What the linker puts in the place of `connect(2)`.
///
/// # Safety
///
/// As for `connect`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_connect(
    socket: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    let on: c_int = 1;
    // SAFETY: the option's value is an integer of this size, and `setsockopt` only reads it. On a
    // socket that is not TCP's it fails and changes nothing.
    unsafe {
        let value = (&raw const on).cast::<c_void>();
        libc::setsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            value,
            size_of_val(&on) as _,
        );
    }
    // SAFETY: as the caller promises.
    unsafe { __real_connect(socket, address, length) }
}
